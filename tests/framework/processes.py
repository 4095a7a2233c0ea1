"""The processes of one home, found by looking through /proc: nothing that boxlite itself says is believed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    pid: int
    parent: int
    words: tuple[str, ...]

    @property
    def role(self) -> str:
        """`shim`, `jail` (bubblewrap), `machine` (QEMU), `network` (passt), `command`, or the program's name."""
        program = Path(self.words[0]).name if self.words else ""
        if "engine.shim" in self.words:
            return "shim"
        if program == "bwrap":
            return "jail"
        if program.startswith("qemu-system"):
            return "machine"
        if program.startswith("passt"):
            return "network"
        if any(Path(word).name == "boxlite" or word == "boxlite_cli" for word in self.words[:3]):
            return "command"
        return program

    def kill(self) -> bool:
        """SIGKILL; False when it was gone already."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def __str__(self) -> str:
        return f"{self.role} {self.pid} (of {self.parent}): {' '.join(self.words)[:160]}"


@contextlib.contextmanager
def inheriting_orphans() -> Iterator[None]:
    """Be the one to whom processes fall whose parent died (prctl(2), PR_SET_CHILD_SUBREAPER), so that none of them can
    hide by having nothing to do with us any more."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def processes_of(home: Path) -> list[Process]:
    """Every living process that has to do with `home`: named in its arguments, environment or standard output, or child
    of one that does; and shims that fell to us before they learnt whose they are."""
    every = {process.pid: process for process in _all()}
    found = {pid for pid, process in every.items() if pid != os.getpid() and _mentions(process, home)}
    found |= {
        pid for pid, process in every.items() if process.parent == os.getpid() and process.role == "shim"
    }
    while more := {pid for pid, one in every.items() if one.parent in found} - found:
        found |= more
    return [every[pid] for pid in sorted(found)]


def reap_orphans(known: set[int]) -> None:
    """Collect the dead that fell to us; `known` are children somebody else waits for."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in known:
            stat = _stat(entry)
            if stat is not None and stat == ("Z", os.getpid()):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(int(entry.name), os.WNOHANG)


def descendants(every: list[Process], ancestor: int) -> list[Process]:
    found = {ancestor}
    while more := {one.pid for one in every if one.parent in found} - found:
        found |= more
    return [one for one in every if one.pid in found - {ancestor}]


def _all() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        stat = _stat(entry)
        if stat is None or stat[0] in "ZX":
            continue
        words = tuple(_text(entry / "cmdline").rstrip("\0").split("\0"))
        yield Process(pid=int(entry.name), parent=stat[1], words=words)


def _stat(entry: Path) -> tuple[str, int] | None:
    text = _text(entry / "stat")
    fields = text[text.rfind(")") + 2 :].split()
    return (fields[0], int(fields[1])) if len(fields) > 1 else None


def _mentions(process: Process, home: Path) -> bool:
    entry, name = Path("/proc") / str(process.pid), str(home)
    if any(name in word for word in process.words) or name in _text(entry / "environ"):
        return True
    try:
        return name in os.readlink(entry / "fd" / "1")
    except OSError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
