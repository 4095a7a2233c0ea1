"""Machines that outlived whoever started them.

The kernel kills a machine with its shim, but for some milliseconds of its start: bubblewrap first makes its second
process, which becomes QEMU, and builds the jail there before it asks to be killed with the first (prctl(2),
PR_SET_PDEATHSIG). Kill one of the others meanwhile, and QEMU starts and belongs to nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from engine.layout import BoxLayout

_PROC = Path("/proc")
_SHIM_MODULE = b"engine.shim"
_MACHINE_PROGRAMS = (b"bwrap", b"qemu-system-")


def kill_leftovers(path: Path) -> list[int]:
    """Kill machines that were given `path` (a disk, a directory) and have no shim among their ancestors; their process
    ids. Does nothing without /proc."""
    name = os.fsencode(path)
    killed = []
    for entry in _PROC.glob("[0-9]*"):
        pid = int(entry.name)
        argv = _argv(pid)
        program = argv[0].rpartition(b"/")[2]
        if (
            program.startswith(_MACHINE_PROGRAMS)
            and any(name in word for word in argv)
            and not _has_shim(pid)
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    return killed


def kill_leftovers_of_box(box: BoxLayout) -> None:
    """Kill the machines of a box that have no shim: those started for it, and the one it took over."""
    for path in paths_of_machine(box):
        kill_leftovers(path)


def paths_of_machine(box: BoxLayout) -> list[Path]:
    """What the machine of a box has in its arguments: the box's directory, or that of the one it took over."""
    paths = [box.mounts_dir]
    with contextlib.suppress(FileNotFoundError):
        paths.append(Path(box.head_start_path.read_text()))
    return paths


def _has_shim(pid: int) -> bool:
    while (pid := _parent(pid)) > 1:
        if _SHIM_MODULE in _argv(pid):
            return True
    return False


def _argv(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def _parent(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return 0
    return int(stat[stat.rindex(b")") + 2 :].split()[1])
