"""Where the bytes of files come from that go into a base."""

from __future__ import annotations

import errno
import os
from typing import Protocol

from engine.disks.tar_entry import TarEntry
from engine.errors import StorageError

_PIECE_BYTES = 1 << 20
_CANNOT_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


class Source(Protocol):
    """One layer's content."""

    @property
    def is_packed(self) -> bool:
        """Do the stored regions of a sparse file follow one another (or lie where they are in the file)?"""

    def descriptor(self, entry: TarEntry) -> int:
        """Reads the file of `entry` at `entry.data_offset`; good until the next call."""

    def close(self) -> None:
        """Let go of what is open."""


def read_exactly(source: int, offset: int, size: int) -> bytes:
    """Raises StorageError when the file ends before."""
    data = os.pread(source, size, offset)
    while len(data) < size:
        more = os.pread(source, size - len(data), offset + len(data))
        if not more:
            raise StorageError("a file became shorter while it was copied", hint="try again")
        data += more
    return data


def copy_range(source: int, offset: int, target: int, place: int, size: int) -> None:
    """Copy bytes between files, by the kernel where it can."""
    while size and hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, target, size, offset, place)
        except OSError as error:
            if error.errno not in _CANNOT_COPY:
                raise
            break
        if not copied:
            break  # at the end, which reading tells apart, or a file system that cannot
        offset, place, size = offset + copied, place + copied, size - copied
    while size:
        piece = read_exactly(source, offset, min(size, _PIECE_BYTES))
        write_exactly(target, piece, place)
        offset, place, size = offset + len(piece), place + len(piece), size - len(piece)


def write_exactly(target: int, data: bytes | bytearray, place: int) -> None:
    """Write all of it at `place`."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(target, rest, place)
        rest, place = rest[done:], place + done
    rest.release()
