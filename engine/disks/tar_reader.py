"""Read the headers of a tar archive that lies in a file, trusting nothing in them.

Old, ustar, GNU and pax archives (POSIX.1-2008 pax; GNU tar manual, appendix "Tar Internals"; star's SCHILY.* keywords).
Data are skipped, never read, but for the maps of sparse files.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.disks.tar_entry import EntryKind, TarEntry
from engine.errors import ImageError, UnsupportedError

BLOCK_BYTES = 512
MAX_EXTENSION_BYTES = 1 << 20
"""Longest pax header or GNU long name that is read."""
MAX_SPARSE_REGIONS = 1 << 17

_WINDOW_BYTES = 1 << 15
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_KINDS = {
    b"0": EntryKind.FILE, b"\0": EntryKind.FILE, b"7": EntryKind.FILE, b"S": EntryKind.FILE,
    b"1": EntryKind.HARDLINK, b"2": EntryKind.SYMLINK, b"3": EntryKind.CHARACTER, b"4": EntryKind.BLOCK,
    b"5": EntryKind.DIRECTORY, b"D": EntryKind.DIRECTORY, b"6": EntryKind.FIFO,
}  # fmt: skip
_XATTR_PREFIX = b"SCHILY.xattr."
_LIBARCHIVE_XATTR_PREFIX = b"LIBARCHIVE.xattr."
_MAX_ID = 2**32 - 2


class _Window:
    """Reads of a file at any offset through a small buffer."""

    def __init__(self, fd: int, what: str) -> None:
        self._fd = fd
        self._start = 0
        self._buffer = b""
        self._what = what

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes; ImageError when the file ends before."""
        data = self.peek(offset, size)
        if len(data) < size:
            raise ImageError(f"{self._what} is truncated: it ends inside the entry at byte {offset}")
        return data

    def peek(self, offset: int, size: int) -> bytes:
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._buffer):
            self._buffer = os.pread(self._fd, max(size, _WINDOW_BYTES), offset)
            self._start = offset
            begin = 0
        return self._buffer[begin : begin + size]


@dataclass(slots=True)
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
    window = _Window(fd, what)
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
        stored = _number(fields[4], "size", offset, what)
        data_offset = offset + BLOCK_BYTES
        if kind in (b"x", b"X", b"g", b"L", b"K"):
            _check_room(data_offset, stored, size_bytes, what)
            if (
                kind != b"g"
            ):  # global headers are notes, such as git's commit; no builder states attributes by them
                _take_extension(extensions, kind, _extension(window, data_offset, stored, what), what)
            offset = data_offset + _padded(stored)
            continue
        entry, offset = _entry(window, fields, offset, stored, extensions, size_bytes, what)
        extensions = _Extensions()
        if entry is not None:
            yield entry


def _entry(
    window: _Window,
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
        return None, offset + BLOCK_BYTES + _padded(stored)
    kind = _KINDS.get(letter)
    path = extensions.path or pax.get(b"path") or _ustar_path(fields)
    if kind is None:
        raise UnsupportedError(f"{what} has an entry of the unknown kind {letter!r} at {_shown(path)}")
    if kind is EntryKind.FILE and path.endswith(b"/") and letter in (b"\0", b"0"):
        kind = EntryKind.DIRECTORY
    if b"size" in pax:
        stored = _decimal(pax[b"size"], "size", what)
    data_offset = offset + BLOCK_BYTES
    if kind in (EntryKind.SYMLINK, EntryKind.HARDLINK, EntryKind.CHARACTER, EntryKind.BLOCK, EntryKind.FIFO):
        # Old archives give a hard link the size of its file but no data; so do pax ones, rarely with data.
        stored = 0
    link = extensions.link or pax.get(b"linkpath") or fields[8].split(b"\0", 1)[0]
    entry = TarEntry(
        path=path,
        kind=kind,
        mode=_number(fields[1], "mode", offset, what) & 0o7777,
        uid=_id(pax.get(b"uid"), fields[2], "uid", offset, what),
        gid=_id(pax.get(b"gid"), fields[3], "gid", offset, what),
        mtime_ns=_time(pax.get(b"mtime"), fields[5], offset, what),
        size_bytes=stored,
        data_offset=data_offset,
        stored_bytes=stored,
        link=link,
        xattrs=_xattrs(pax, what) if pax else (),
    )
    if kind in (EntryKind.CHARACTER, EntryKind.BLOCK):
        entry.dev_major = _number(fields[13], "device", offset, what)
        entry.dev_minor = _number(fields[14], "device", offset, what)
    if kind is EntryKind.FILE:
        after_map = data_offset
        if letter == b"S":
            after_map = _gnu_sparse(window, entry, offset, what)
        elif pax:
            _pax_sparse(window, entry, extensions, what)
        _check_room(after_map, stored, size_bytes, what)
        return entry, after_map + _padded(stored)
    if kind is EntryKind.DIRECTORY:
        _check_room(data_offset, stored, size_bytes, what)
        entry.size_bytes = entry.stored_bytes = 0
    return entry, data_offset + _padded(stored)


def _ustar_path(fields: tuple[bytes, ...]) -> bytes:
    name = fields[0].split(b"\0", 1)[0]
    if fields[9] == b"ustar\0":
        prefix = fields[15].split(b"\0", 1)[0]
        if prefix:
            return prefix + b"/" + name
    return name


def _check_sum(header: bytes, claimed: bytes, offset: int, what: str) -> None:
    total = sum(header) - sum(claimed) + 256
    if total == _number(claimed, "checksum", offset, what):
        return
    signed = total - 256 * sum(1 for byte in header[:148] + header[156:] if byte > 127)
    if signed != _number(claimed, "checksum", offset, what):
        raise ImageError(f"{what} is damaged: the header at byte {offset} has a wrong checksum")


def _number(raw: bytes, name: str, offset: int, what: str) -> int:
    """An octal or, by GNU's extension, big-endian binary number. Negative ones are refused but for a time's."""
    if raw[0] & 0x80:
        negative = raw[0] == 0xFF
        value = (
            int.from_bytes(raw, "big", signed=True)
            if negative
            else int.from_bytes(raw, "big") & ~(0x80 << (8 * len(raw) - 8))
        )
        if value < 0 and name != "time":
            raise ImageError(f"{what} is damaged: negative {name} in the header at byte {offset}")
        return value
    digits = raw.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    try:
        value = int(digits, 8)
    except ValueError:
        value = -1
    if value < 0 or not digits.isdigit():
        raise ImageError(f"{what} is damaged: the {name} in the header at byte {offset} is not a number")
    return value


def _decimal(raw: bytes, name: str, what: str) -> int:
    if not raw.isdigit() or len(raw) > 20:
        raise ImageError(f"{what} is damaged: the {name} {_shown(raw)} of a pax header is not a number")
    return int(raw)


def _id(pax: bytes | None, raw: bytes, name: str, offset: int, what: str) -> int:
    value = _decimal(pax, name, what) if pax is not None else _number(raw, name, offset, what)
    if value > _MAX_ID:
        raise ImageError(f"{what} is damaged: {name} {value} is larger than any user or group can be")
    return value


def _time(pax: bytes | None, raw: bytes, offset: int, what: str) -> int:
    """Nanoseconds since 1970."""
    if pax is None:
        return _number(raw, "time", offset, what) * 10**9
    sign = -1 if pax.startswith(b"-") else 1
    whole, _, part = pax.removeprefix(b"-").partition(b".")
    nanoseconds = _decimal(part[:9].ljust(9, b"0"), "mtime", what)
    return sign * (_decimal(whole or b"0", "mtime", what) * 10**9 + nanoseconds)


def _check_room(data_offset: int, stored: int, size_bytes: int, what: str) -> None:
    if stored > size_bytes - data_offset:
        raise ImageError(
            f"{what} is truncated: an entry's {stored} bytes at byte {data_offset} reach past its end"
        )


def _padded(size: int) -> int:
    return (size + BLOCK_BYTES - 1) & -BLOCK_BYTES


def _shown(raw: bytes) -> str:
    return repr(raw[:80])[1:]


def _extension(window: _Window, offset: int, size: int, what: str) -> bytes:
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
                    f"{what} is damaged: the extended attribute {_shown(name)} is not base64"
                ) from error
    for key, value in pax.items():
        if key.startswith(_XATTR_PREFIX):
            found[key[len(_XATTR_PREFIX) :]] = value
    return tuple(sorted(found.items()))


def _gnu_sparse(window: _Window, entry: TarEntry, offset: int, what: str) -> int:
    """Old GNU format: four regions in the header, more in blocks after it. Returns where the data begin."""
    header = window.read(offset, BLOCK_BYTES)
    regions = _gnu_regions(header[386:482], offset, what)
    more = header[482]
    entry.size_bytes = _number(header[483:495], "size", offset, what)
    position = offset + BLOCK_BYTES
    while more:
        block = window.read(position, BLOCK_BYTES)
        regions += _gnu_regions(block[:504], position, what)
        more = block[504]
        position += BLOCK_BYTES
        _check_regions(len(regions), what)
    entry.data_offset = position
    _set_regions(entry, regions, what)
    return position


def _gnu_regions(raw: bytes, offset: int, what: str) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(raw) - 23, 24):
        if raw[at] == 0:
            break
        found.append(
            (
                _number(raw[at : at + 12], "size", offset, what),
                _number(raw[at + 12 : at + 24], "size", offset, what),
            )
        )
    return found


def _pax_sparse(window: _Window, entry: TarEntry, extensions: _Extensions, what: str) -> None:
    """GNU sparse formats 0.0, 0.1 and 1.0 in pax headers."""
    pax = extensions.pax
    if pax.get(b"GNU.sparse.major") == b"1":
        numbers = _sparse_1_0_map(window, entry, what)
    elif b"GNU.sparse.map" in pax:
        numbers = [_decimal(text, "sparse map", what) for text in pax[b"GNU.sparse.map"].split(b",") if text]
    elif b"GNU.sparse.size" in pax:
        numbers = [_decimal(text, "sparse map", what) for text in extensions.sparse_pairs]
    else:
        return
    real = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b""
    entry.size_bytes = _decimal(real, "sparse size", what)
    entry.path = pax.get(b"GNU.sparse.name") or entry.path
    if len(numbers) % 2 or b"\0" in entry.path:
        raise ImageError(f"{what} is damaged: the sparse file {_shown(entry.path)} has a malformed map")
    _set_regions(entry, list(zip(numbers[::2], numbers[1::2], strict=True)), what)


def _sparse_1_0_map(window: _Window, entry: TarEntry, what: str) -> list[int]:
    """Decimal numbers, a line each, at the head of the data: how many regions, then the regions; padded to a block."""
    position, end = entry.data_offset, entry.data_offset + entry.stored_bytes
    blocks: list[bytes] = []
    lines = 0
    wanted: int | None = None
    while wanted is None or lines <= wanted:
        if position >= end:
            raise ImageError(f"{what} is damaged: the map of the sparse file {_shown(entry.path)} has no end")
        blocks.append(window.read(position, BLOCK_BYTES))
        position += BLOCK_BYTES
        lines += blocks[-1].count(b"\n")
        if wanted is None and lines:
            wanted = 2 * _decimal(b"".join(blocks).split(b"\n", 1)[0], "sparse map", what)
            _check_regions(wanted // 2, what)
    entry.stored_bytes -= position - entry.data_offset
    entry.data_offset = position
    return [_decimal(line, "sparse map", what) for line in b"".join(blocks).split(b"\n")[1 : wanted + 1]]


def _check_regions(count: int, what: str) -> None:
    if count > MAX_SPARSE_REGIONS:
        raise ImageError(f"{what} has a sparse file in more than {MAX_SPARSE_REGIONS} pieces")


def _set_regions(entry: TarEntry, regions: list[tuple[int, int]], what: str) -> None:
    end = stored = 0
    for offset, length in regions:
        if offset < end or offset + length > entry.size_bytes:
            raise ImageError(
                f"{what} is damaged: the regions of the sparse file {_shown(entry.path)} overlap"
            )
        end = offset + length
        stored += length
    if stored != entry.stored_bytes:
        raise ImageError(
            f"{what} is damaged: the regions of the sparse file {_shown(entry.path)} do not add up"
        )
    entry.regions = tuple(region for region in regions if region[1])
