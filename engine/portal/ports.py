"""Ports of a machine, each used by one process at a time: a file lock says so, and the file says how it was left.

A client that is killed leaves its port in the middle of something, and the machine may not have seen it go before the next one
comes. So the lock file is marked while a lease lasts, and the mark taken away by an orderly end: whoever finds it flushes the
port before greeting.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARK = b"1"


class PortLease:
    """A port of one machine, ours until released. `was_abandoned`: the last one to have it never gave it back.

    A plain class: what completes paths needs it, and importing dataclasses takes longer than the agent's answer.
    """

    __slots__ = ("_lock_fd", "number", "was_abandoned")

    def __init__(self, *, number: int, was_abandoned: bool, lock_fd: int) -> None:
        self.number = number
        self.was_abandoned = was_abandoned
        self._lock_fd: int | None = lock_fd

    def release(self) -> None:
        if self._lock_fd is not None:
            os.ftruncate(self._lock_fd, 0)
            os.close(self._lock_fd)
            self._lock_fd = None


def find_lease(sockets_dir: str | os.PathLike[str], kind: str, numbers: Iterable[int]) -> PortLease | None:
    """The first port of a kind (portal, lane) that is free; None when all are taken."""
    for number in numbers:
        path = os.path.join(sockets_dir, f"{kind}-{number}.lock")  # noqa: PTH118  pathlib costs as much as all of this
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
        else:
            was_abandoned = os.fstat(fd).st_size > 0
            os.pwrite(fd, _MARK, 0)
            return PortLease(number=number, was_abandoned=was_abandoned, lock_fd=fd)
    return None
