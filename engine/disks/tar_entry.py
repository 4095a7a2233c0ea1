"""One member of a tar archive, apart from how the archive spells it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EntryKind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "fifo"


@dataclass(slots=True, eq=True)
class TarEntry:
    """`path` and `link` are as the archive has them, unchecked. `mode` has permission bits only (07777).

    `size_bytes` is the file's length; `stored_bytes` what the archive holds of it from `data_offset` on, which is less
    for a sparse file: `regions` then lists (offset in the file, length) of the stored parts, in order.
    Not frozen: a million of these are made for a large image, and a frozen one takes three times as long.
    """

    path: bytes
    kind: EntryKind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size_bytes: int = 0
    data_offset: int = 0
    stored_bytes: int = 0
    link: bytes = b""
    dev_major: int = 0
    dev_minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    regions: tuple[tuple[int, int], ...] | None = None
