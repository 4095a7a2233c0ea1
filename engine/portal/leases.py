"""Ports of a machine, each used by one process at a time: a file lock says so, and the file says how it was left.

A client that is killed leaves its port in the middle of something, and the machine may not have seen it go before the next one
comes. So the lock file is marked while a lease lasts, and the mark taken away by an orderly end: whoever finds it flushes the
port before greeting.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.fsutil import try_lock
from guest.wire.constants import PORTAL_PORTS

RETRY_S = 0.02
MAX_RETRY_S = 0.2
_MARK = b"1"
_TURNS = itertools.count()


@dataclass(slots=True, kw_only=True)
class PortLease:
    """A port of one machine, ours until released. `was_abandoned`: the last one to have it never gave it back."""

    number: int
    was_abandoned: bool
    _lock_fd: int | None = field(repr=False)

    def release(self) -> None:
        if self._lock_fd is not None:
            os.ftruncate(self._lock_fd, 0)
            os.close(self._lock_fd)
            self._lock_fd = None


def find_lease(sockets_dir: Path, kind: str, numbers: Iterable[int]) -> PortLease | None:
    """The first port of a kind (portal, lane) that is free; None when all are taken."""
    for number in numbers:
        fd = try_lock(sockets_dir / f"{kind}-{number}.lock")
        if fd is not None:
            was_abandoned = os.fstat(fd).st_size > 0
            os.pwrite(fd, _MARK, 0)
            return PortLease(number=number, was_abandoned=was_abandoned, _lock_fd=fd)
    return None


async def lease_port(sockets_dir: Path, on_wait: Callable[[], None] | None = None) -> PortLease:
    """Take a free portal port; when all are taken, call `on_wait` and wait for one. Waiting can be cancelled: flock(2) itself
    could not be. Each connection of a process begins at another port: the machine learns a moment after us that a connection
    has ended."""
    delay_s = RETRY_S
    first = next(_TURNS)
    order = [(first + step) % PORTAL_PORTS for step in range(PORTAL_PORTS)]
    while (lease := find_lease(sockets_dir, "portal", order)) is None:
        if on_wait is not None:
            on_wait()
            on_wait = None
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 1.5, MAX_RETRY_S)
    return lease
