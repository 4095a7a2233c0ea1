"""Archives the kernel unpacks as its initial file system: cpio in the "newc" format.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. Archives may simply follow one another.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable

from engine.values import dataclass

_ALIGNMENT = 4
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True, kw_only=True)
class CpioEntry:
    """One file, directory or symbolic link (`content` is then its target). Owned by root, dated 1970."""

    path: str
    mode: int
    content: bytes = b""


def directory(path: str, *, mode: int = 0o755) -> CpioEntry:
    return CpioEntry(path=path, mode=stat.S_IFDIR | mode)


def regular_file(path: str, content: bytes, *, mode: int = 0o644) -> CpioEntry:
    return CpioEntry(path=path, mode=stat.S_IFREG | mode, content=content)


def build_cpio(entries: Iterable[CpioEntry]) -> bytes:
    """Return one archive of `entries`, in their order: a directory comes before what is in it."""
    archive = bytearray()
    for inode, entry in enumerate(entries, start=1):
        _append(archive, entry, inode)
    _append(archive, CpioEntry(path=_TRAILER, mode=0), 0)
    return bytes(archive)


def _append(archive: bytearray, entry: CpioEntry, inode: int) -> None:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
    archive += b"070701" + b"".join(b"%08X" % value for value in fields) + name
    archive += bytes(-len(archive) % _ALIGNMENT)
    archive += entry.content
    archive += bytes(-len(archive) % _ALIGNMENT)
