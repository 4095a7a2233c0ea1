"""Entries of a tar archive and the headers they are written as: the form that trees of files have between host and box.

What fits stands in a ustar header, whose magic tells GNU tar that holes are told the pax way; names too long for it go before
it in full (`L`, `K`), raw as they are; attributes, fractions of a second and holes go in a pax header (POSIX.1-2008 pax; GNU tar
manual, "Tar Internals" and "Sparse Formats" 1.0; star's SCHILY.xattr). tarfile can all of this too, in three times the time,
which is what a tree of small files waits for under emulation.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

BLOCK_BYTES = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)
MAX_HEADER_BYTES = 1024 * 1024
"""Longest extended header that is written, or taken into memory."""
MAX_REGIONS = 1 << 16
"""A file in more pieces than this is written without its holes, and not taken."""
HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
XATTR_PREFIX = b"SCHILY.xattr."

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

_NAME_BYTES = 100
_EXTENDED_NAME = b"././@LongLink"
_MAGIC = b"ustar\x0000"
_SECOND_NS = 10**9


class TarError(ValueError):
    """What came is no archive, or none that is taken."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One file. `kind` is the letter of its header, one of those above or one unknown here. Of a sparse file `regions` holds
    the parts that are not holes, as (offset, length); of others None. `size` is that of the whole file."""

    path: bytes
    kind: bytes = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    regions: tuple[tuple[int, int], ...] | None = None

    @property
    def is_file(self) -> bool:
        return self.kind == FILE

    @property
    def is_directory(self) -> bool:
        return self.kind == DIRECTORY

    @property
    def stored_bytes(self) -> int:
        """How many bytes of content follow the headers."""
        return self.size if self.regions is None else sum(length for _, length in self.regions)


def encode(entry: Entry) -> bytes:
    """All that goes before an entry's content."""
    seconds, part = divmod(entry.mtime_ns, _SECOND_NS)
    size, sparse_map = entry.size, b""
    records = b""
    if part or seconds < 0:
        records = _record(b"mtime", _time(entry.mtime_ns))
    if entry.xattrs:
        records += b"".join(_record(XATTR_PREFIX + name, value) for name, value in entry.xattrs)
    if entry.regions is not None:
        sparse_map = _sparse_map(entry.regions)
        size = entry.stored_bytes + len(sparse_map)
        records += _record(b"GNU.sparse.major", b"1") + _record(b"GNU.sparse.minor", b"0")
        records += _record(b"GNU.sparse.name", entry.path)
        records += _record(b"GNU.sparse.realsize", b"%d" % entry.size)
    before = _extension(b"x", records) if records else b""
    if len(entry.link) > _NAME_BYTES:
        before += _extension(b"K", entry.link + b"\0")
    if len(entry.path) > _NAME_BYTES:
        before += _extension(b"L", entry.path + b"\0")
    return before + _header(entry, max(seconds, 0), size) + sparse_map


def padding(size: int) -> bytes:
    """The zero bytes that fill up the last block."""
    return bytes(-size % BLOCK_BYTES)


def header_sum(header: bytes) -> int:
    """The sum of a header's bytes, modulo 65521, which no header of ours reaches: Adler-32 has it in its lower half (RFC 1950),
    and does not make an object of every byte."""
    return ((zlib.adler32(header) & 0xFFFF) - 1) % 65521


def _header(entry: Entry, seconds: int, size: int) -> bytes:
    header = HEADER.pack(
        entry.path[:_NAME_BYTES], _number(entry.mode, 8), _number(entry.uid, 8), _number(entry.gid, 8),
        _number(size, 12), _number(seconds, 12), b" " * 8, entry.kind, entry.link[:_NAME_BYTES], _MAGIC, b"", b"",
        _number(entry.major, 8), _number(entry.minor, 8), b"",
    )  # fmt: skip
    return b"%s%06o\0 %s" % (header[:148], header_sum(header), header[156:])


def _number(value: int, width: int) -> bytes:
    """Octal, or GNU's binary form for what needs more digits."""
    if value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return ((0x80 << (8 * width - 8)) | value).to_bytes(width, "big")


def _extension(kind: bytes, content: bytes) -> bytes:
    header = _header(Entry(path=_EXTENDED_NAME, kind=kind), 0, len(content))
    return b"%s%s%s" % (header, content, padding(len(content)))


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE` and a line's end; the length counts its own digits."""
    length = len(key) + len(value) + 3
    digits = len(b"%d" % (length + len(b"%d" % length)))
    return b"%d %s=%s\n" % (length + digits, key, value)


def _time(nanoseconds: int) -> bytes:
    whole, part = divmod(abs(nanoseconds), _SECOND_NS)
    return b"%s%d.%09d" % (b"-" if nanoseconds < 0 else b"", whole, part)


def _sparse_map(regions: tuple[tuple[int, int], ...]) -> bytes:
    lines = [len(regions), *(number for region in regions for number in region)]
    content = b"".join(b"%d\n" % line for line in lines)
    return content + padding(len(content))
