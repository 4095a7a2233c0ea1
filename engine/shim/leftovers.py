"""Machines that outlived their shim. The kernel kills a machine with its shim, but for a few milliseconds of its start:
until bubblewrap has asked for that in both of its processes (prctl(2), PR_SET_PDEATHSIG)."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from engine.layout import BoxLayout

_PROC = Path("/proc")
_SHIM_MODULE = b"engine.shim"
_MACHINE_PROGRAMS = (b"bwrap", b"qemu-system-")


def kill_leftovers(box: BoxLayout) -> list[int]:
    """Kill what runs on the box's disk and has no shim among its ancestors; the process ids. Nothing without /proc."""
    disk = os.fsencode(box.disk_path)
    killed = []
    for entry in _PROC.glob("[0-9]*"):
        pid = int(entry.name)
        argv = _argv(pid)
        program = argv[0].rpartition(b"/")[2]
        if (
            program.startswith(_MACHINE_PROGRAMS)
            and any(disk in word for word in argv)
            and not _has_shim(pid)
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    return killed


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
