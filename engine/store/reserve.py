"""A little space that the databases keep for a full disk: SQLite needs some even to read, and then boxes could neither be
listed nor removed to make room."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

RESERVE_NAME = "reserve"
RESERVE_BYTES = 512 * 1024
READING_NEEDS_BYTES = 64 * 1024
"""SQLite's shared-memory file and an empty log. It is what QEMU needs for one more cluster, too: with less than this no
machine goes on writing, and what the reserve gives back stays for the databases."""
WRITING_NEEDS_BYTES = 256 * 1024
PLENTY_BYTES = 32 * 1024 * 1024
"""From this much free space on the reserve is taken (again)."""


def mind_reserve(directory: Path, *, need_bytes: int) -> None:
    """Take the reserve in the databases' directory when there is plenty of space, and give it up when less than
    `need_bytes` is free. Never fails: without it things are as they would be without a reserve."""
    reserve = directory / RESERVE_NAME
    with contextlib.suppress(OSError):
        space = os.statvfs(directory)
        free = space.f_bavail * space.f_frsize
        if free < need_bytes:
            reserve.unlink(missing_ok=True)
        elif free >= PLENTY_BYTES and not reserve.exists():
            reserve.touch(mode=0o600)
            reserve.write_bytes(bytes(RESERVE_BYTES))
