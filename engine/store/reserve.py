"""A little space that the databases keep for a full disk: SQLite needs some even to read, and then boxes could neither be
listed nor removed to make room."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

RESERVE_NAME = "reserve"
RESERVE_BYTES = 512 * 1024
LOW_BYTES = 1024 * 1024
"""Below this much free space the reserve is given up."""
PLENTY_BYTES = 32 * 1024 * 1024
"""From this much on it is taken (again)."""


def mind_reserve(directory: Path) -> None:
    """Take the reserve in the databases' directory, or give it up, as the file system has space. Never fails: without it
    things are as they would be without a reserve."""
    reserve = directory / RESERVE_NAME
    with contextlib.suppress(OSError):
        space = os.statvfs(directory)
        free = space.f_bavail * space.f_frsize
        if free < LOW_BYTES:
            reserve.unlink(missing_ok=True)
        elif free >= PLENTY_BYTES and not reserve.exists():
            reserve.touch(mode=0o600)
            reserve.write_bytes(bytes(RESERVE_BYTES))
