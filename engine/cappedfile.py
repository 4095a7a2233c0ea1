"""Logs that strangers write to: never longer than a cap, and one older file beside the one being written."""

from __future__ import annotations

import os
from pathlib import Path


class CappedFile:
    """A file that at its cap becomes the older one (`NAME.1`, replacing the one before it), while a new one is begun with
    `head` as its first bytes: at most twice the cap is kept. Only its owner can read it.

    What cannot be written is lost, nothing else: `write` raises OSError and may be called again.
    """

    def __init__(self, path: Path, *, cap_bytes: int, head: bytes = b"", append: bool = False) -> None:
        self._path = path
        self._cap_bytes = cap_bytes
        self._head = head
        self._fd: int | None = self._open(0 if append else os.O_TRUNC)

    def _open(self, flags: int) -> int:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        if os.lseek(fd, 0, os.SEEK_END) == 0 and self._head:
            os.write(fd, self._head)
        return fd

    def write(self, chunk: bytes) -> None:
        """Add `chunk`, all of it or nothing. Raises OSError."""
        if self._fd is None:
            self._fd = self._open(os.O_TRUNC)
        start = os.lseek(self._fd, 0, os.SEEK_CUR)
        try:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, start)
            os.lseek(self._fd, start, os.SEEK_SET)
            raise
        if start + len(chunk) >= self._cap_bytes:
            self.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._fd = self._open(os.O_TRUNC)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
