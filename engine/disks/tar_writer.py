"""Write tar headers that libarchive (which mke2fs reads archives with) takes exactly as meant.

Names go as raw bytes (GNU long names where they do not fit), so that no character set is ever applied to them; what
only pax can say (extended attributes, fractions of a second, sparse maps) goes in a pax header.
"""

from __future__ import annotations

import struct

from engine.disks.tar_entry import EntryKind, TarEntry

BLOCK_BYTES = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)

_NAME_BYTES = 100
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_TYPES = {
    EntryKind.FILE: b"0", EntryKind.HARDLINK: b"1", EntryKind.SYMLINK: b"2", EntryKind.CHARACTER: b"3",
    EntryKind.BLOCK: b"4", EntryKind.DIRECTORY: b"5", EntryKind.FIFO: b"6",
}  # fmt: skip


def header_for(entry: TarEntry, path: bytes, *, link: bytes | None = None) -> bytes:
    """Everything that goes before the data of `entry` when it is written as `path`.

    With `link`, it is written as a hard link to that earlier path. The data of a sparse file are its stored regions.
    """
    if link is not None:
        return _named_header(path, b"1", entry, link=link, size=0)
    records = [(b"SCHILY.xattr." + name, value) for name, value in entry.xattrs]
    seconds, nanoseconds = divmod(entry.mtime_ns, 10**9)
    if nanoseconds or seconds < 0:
        records.append((b"mtime", _decimal_time(entry.mtime_ns)))
    size, sparse_map = entry.stored_bytes, b""
    if entry.regions is not None:
        sparse_map = _sparse_map(entry)
        size += len(sparse_map)
        records += [
            (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", path),
            (b"GNU.sparse.realsize", b"%d" % entry.size_bytes),
        ]  # fmt: skip
    pax = _extension(b"x", b"".join(map(_record, records))) if records else b""
    target = entry.link if entry.kind is EntryKind.SYMLINK else b""
    return pax + _named_header(path, _TYPES[entry.kind], entry, link=target, size=size) + sparse_map


def _named_header(path: bytes, kind: bytes, entry: TarEntry, *, link: bytes, size: int) -> bytes:
    before = b""
    if len(link) > _NAME_BYTES:
        before += _extension(b"K", link + b"\0")
    if len(path) > _NAME_BYTES:
        before += _extension(b"L", path + b"\0")
    return before + _header(path, kind, entry, link, size)


def _header(path: bytes, kind: bytes, entry: TarEntry, link: bytes, size: int) -> bytes:
    fields = [
        path[:_NAME_BYTES], _number(entry.mode, 8), _number(entry.uid, 8), _number(entry.gid, 8), _number(size, 12),
        _number(max(entry.mtime_ns // 10**9, 0), 12), b" " * 8, kind, link[:_NAME_BYTES], b"ustar  \0", b"", b"",
        _number(entry.dev_major, 8), _number(entry.dev_minor, 8), b"",
    ]  # fmt: skip
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)


def _number(value: int, width: int) -> bytes:
    if value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return ((0x80 << (8 * width - 8)) | value).to_bytes(width, "big")


def _extension(kind: bytes, content: bytes) -> bytes:
    note = TarEntry(path=b"././@LongLink", kind=EntryKind.FILE)
    return _header(note.path, kind, note, b"", len(content)) + content + padding(len(content))


def _record(pair: tuple[bytes, bytes]) -> bytes:
    """`LENGTH KEY=VALUE\\n`; the length counts its own digits."""
    rest = b" " + pair[0] + b"=" + pair[1] + b"\n"
    length = len(rest) + len(str(len(rest)))
    return b"%d" % (len(rest) + len(str(length))) + rest


def _decimal_time(nanoseconds: int) -> bytes:
    whole, part = divmod(abs(nanoseconds), 10**9)
    return b"%s%d.%09d" % (b"-" if nanoseconds < 0 else b"", whole, part)


def _sparse_map(entry: TarEntry) -> bytes:
    regions = entry.regions or ()
    lines = [len(regions), *(number for region in regions for number in region)]
    content = b"".join(b"%d\n" % line for line in lines)
    return content + padding(len(content))


def padding(size: int) -> bytes:
    """The zero bytes that fill up the last block."""
    return bytes(-size % BLOCK_BYTES)
