"""Waiting for a port of a machine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

from engine.portal.ports import PortLease, find_lease
from guest.wire.constants import PORTAL_PORTS

RETRY_S = 0.02
MAX_RETRY_S = 0.2
_TURNS = itertools.count()


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
