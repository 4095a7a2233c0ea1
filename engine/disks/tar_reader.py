"""Read the headers of a tar archive that lies in a file, trusting nothing in them.

Old, ustar, GNU and pax archives (POSIX.1-2008 pax; GNU tar manual, appendix "Tar Internals"; star's SCHILY.* keywords).
Data are skipped, never read, but for the maps of sparse files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.disks.tar_entry import EntryKind, TarEntry
from engine.disks.tar_fields import (
    BLOCK_BYTES,
    Window,
    check_room,
    decimal,
    number,
    owner_id,
    padded,
    shown,
    time_ns,
)
from engine.disks.tar_sparse import read_gnu_sparse, read_pax_sparse
from engine.errors import ImageError, UnsupportedError

MAX_EXTENSION_BYTES = 1 << 20
"""Longest pax header or GNU long name that is read."""

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_KINDS = {
    b"0": EntryKind.FILE, b"\0": EntryKind.FILE, b"7": EntryKind.FILE, b"S": EntryKind.FILE,
    b"1": EntryKind.HARDLINK, b"2": EntryKind.SYMLINK, b"3": EntryKind.CHARACTER, b"4": EntryKind.BLOCK,
    b"5": EntryKind.DIRECTORY, b"D": EntryKind.DIRECTORY, b"6": EntryKind.FIFO,
}  # fmt: skip
_XATTR_PREFIX = b"SCHILY.xattr."
_LIBARCHIVE_XATTR_PREFIX = b"LIBARCHIVE.xattr."


@dataclass(slots=True, eq=False)
class _Extensions:
    """What the headers before an entry say about it."""

    path: bytes | None = None
    link: bytes | None = None
    pax: dict[bytes, bytes] = field(default_factory=dict)
    sparse_pairs: list[bytes] = field(default_factory=list)


def iter_entries(fd: int, size_bytes: int, *, what: str) -> Iterator[TarEntry]:
    """Yield the entries of the archive in `fd`, which is `size_bytes` long, in archive order.

    Ends at the first zero block or at the end of the file. Raises ImageError for anything that is not a well-formed
    archive, UnsupportedError for kinds of entries that no file system can hold; `what` names the archive in them.
    """
    window = Window(fd, what)
    offset = 0
    extensions = _Extensions()
    while offset < size_bytes:
        header = window.peek(offset, BLOCK_BYTES)
        if not header.strip(b"\0"):
            return
        if len(header) < BLOCK_BYTES:
            raise ImageError(f"{what} is truncated: it ends inside a header at byte {offset}")
        fields = _HEADER.unpack(header)
        _check_sum(header, fields[6], offset, what)
        kind = fields[7]
        stored = number(fields[4], "size", offset, what)
        data_offset = offset + BLOCK_BYTES
        if kind in (b"x", b"X", b"g", b"L", b"K"):
            check_room(data_offset, stored, size_bytes, what)
            if (
                kind != b"g"
            ):  # global headers are notes, such as git's commit; no builder states attributes by them
                _take_extension(extensions, kind, _extension(window, data_offset, stored, what), what)
            offset = data_offset + padded(stored)
            continue
        entry, offset = _entry(window, fields, offset, stored, extensions, size_bytes, what)
        extensions = _Extensions()
        if entry is not None:
            yield entry


def _entry(
    window: Window,
    fields: tuple[bytes, ...],
    offset: int,
    stored: int,
    extensions: _Extensions,
    size_bytes: int,
    what: str,
) -> tuple[TarEntry | None, int]:
    """The entry whose header lies at `offset`, and the offset of the next header."""
    pax = extensions.pax
    letter = fields[7]
    if letter == b"V":
        return None, offset + BLOCK_BYTES + padded(stored)
    kind = _KINDS.get(letter)
    path = extensions.path or pax.get(b"path") or _ustar_path(fields)
    if kind is None:
        raise UnsupportedError(f"{what} has an entry of the unknown kind {letter!r} at {shown(path)}")
    if kind is EntryKind.FILE and path.endswith(b"/") and letter in (b"\0", b"0"):
        kind = EntryKind.DIRECTORY
    if b"size" in pax:
        stored = decimal(pax[b"size"], "size", what)
    data_offset = offset + BLOCK_BYTES
    if kind in (EntryKind.SYMLINK, EntryKind.HARDLINK, EntryKind.CHARACTER, EntryKind.BLOCK, EntryKind.FIFO):
        # Old archives give a hard link the size of its file but no data; so do pax ones, rarely with data.
        stored = 0
    link = extensions.link or pax.get(b"linkpath") or fields[8].split(b"\0", 1)[0]
    entry = TarEntry(
        path=path,
        kind=kind,
        mode=number(fields[1], "mode", offset, what) & 0o7777,
        uid=owner_id(pax.get(b"uid"), fields[2], "uid", offset, what),
        gid=owner_id(pax.get(b"gid"), fields[3], "gid", offset, what),
        mtime_ns=time_ns(pax.get(b"mtime"), fields[5], offset, what),
        size_bytes=stored,
        data_offset=data_offset,
        stored_bytes=stored,
        link=link,
        xattrs=_xattrs(pax, what) if pax else (),
    )
    if kind in (EntryKind.CHARACTER, EntryKind.BLOCK):
        entry.dev_major = number(fields[13], "device", offset, what)
        entry.dev_minor = number(fields[14], "device", offset, what)
    if kind is EntryKind.FILE:
        after_map = data_offset
        if letter == b"S":
            after_map = read_gnu_sparse(window, entry, offset, what)
        elif pax:
            read_pax_sparse(window, entry, pax, extensions.sparse_pairs, what)
        check_room(after_map, stored, size_bytes, what)
        return entry, after_map + padded(stored)
    if kind is EntryKind.DIRECTORY:
        check_room(data_offset, stored, size_bytes, what)
        entry.size_bytes = entry.stored_bytes = 0
    return entry, data_offset + padded(stored)


def _ustar_path(fields: tuple[bytes, ...]) -> bytes:
    name = fields[0].split(b"\0", 1)[0]
    if fields[9] == b"ustar\0":
        prefix = fields[15].split(b"\0", 1)[0]
        if prefix:
            return prefix + b"/" + name
    return name


def _check_sum(header: bytes, claimed: bytes, offset: int, what: str) -> None:
    total = sum(header) - sum(claimed) + 256
    if total == number(claimed, "checksum", offset, what):
        return
    signed = total - 256 * sum(1 for byte in header[:148] + header[156:] if byte > 127)
    if signed != number(claimed, "checksum", offset, what):
        raise ImageError(f"{what} is damaged: the header at byte {offset} has a wrong checksum")


def _extension(window: Window, offset: int, size: int, what: str) -> bytes:
    if size > MAX_EXTENSION_BYTES:
        raise ImageError(f"{what} is damaged: a header of {size} bytes is longer than {MAX_EXTENSION_BYTES}")
    return window.read(offset, size) if size else b""


def _take_extension(extensions: _Extensions, kind: bytes, content: bytes, what: str) -> None:
    if kind == b"L":
        extensions.path = content.split(b"\0", 1)[0]
    elif kind == b"K":
        extensions.link = content.split(b"\0", 1)[0]
    else:
        for key, value in _pax_records(content, what):
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                extensions.sparse_pairs.append(value)
            extensions.pax[key] = value
        for key in (b"path", b"linkpath"):
            if b"\0" in extensions.pax.get(key, b""):
                raise ImageError(
                    f"{what} is damaged: the {key.decode()} of a pax header has a zero byte in it"
                )


def _pax_records(content: bytes, what: str) -> Iterator[tuple[bytes, bytes]]:
    """Records are `LENGTH KEY=VALUE\\n`, the length counting itself."""
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 10)
        length = content[position:space] if space > 0 else b""
        end = position + int(length) if length.isdigit() else -1
        record = content[space + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if not space + 1 < end <= len(content) or record[-1:] != b"\n" or not equals or not key:
            raise ImageError(f"{what} is damaged: a pax header has a malformed record")
        yield key, value
        position = end


def _xattrs(pax: dict[bytes, bytes], what: str) -> tuple[tuple[bytes, bytes], ...]:
    found: dict[bytes, bytes] = {}
    for key, value in pax.items():
        if key.startswith(_LIBARCHIVE_XATTR_PREFIX):
            import binascii
            import urllib.parse

            name = urllib.parse.unquote_to_bytes(key[len(_LIBARCHIVE_XATTR_PREFIX) :])
            try:
                found[name] = binascii.a2b_base64(value + b"=" * (-len(value) % 4))
            except binascii.Error as error:
                raise ImageError(
                    f"{what} is damaged: the extended attribute {shown(name)} is not base64"
                ) from error
    for key, value in pax.items():
        if key.startswith(_XATTR_PREFIX):
            found[key[len(_XATTR_PREFIX) :]] = value
    return tuple(sorted(found.items()))
