"""Read a tar stream, believing nothing in it. Host and guest both do, each what the other one, or a person, sends.

Old, ustar, GNU and pax archives with all of GNU's forms of sparse files (POSIX.1-2008 pax; GNU tar manual, "Tar Internals",
"Sparse Formats"). No header makes the reader hold more than MAX_HEADER_BYTES.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol

from guest.wire.tar import BLOCK_BYTES, DIRECTORY, FILE, HEADER, MAX_HEADER_BYTES, Entry, TarError, header_sum
from guest.wire.tarfields import (
    MAX_DIGITS,
    check_count,
    decimal,
    number,
    old_regions,
    records,
    short_path,
    time_ns,
    xattrs,
)

READ_BYTES = 256 * 1024
MAX_HEADERS_IN_A_ROW = 8
"""How many extended headers one entry may have: writers make at most three."""
_MAX_ID = 2**32 - 2
_MAX_TIME_NS = 2**40 * 10**9
_MAX_BYTES = 2**63 - 1
_MAX_DEVICE = 2**32 - 1
_EXTENDED = b"xXgLK"
_FILES = (b"0", b"\0", b"7", b"S")
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"6")
_END = bytes(BLOCK_BYTES)


class Source(Protocol):
    """Where a stream comes from: at most `size` bytes, none only at its end."""

    def read(self, size: int, /) -> bytes: ...


class TarReader:
    """The entries of one stream, in order; what an entry holds is read before the next one, or skipped."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._copy_to: Callable[[int, int], int] | None = getattr(source, "copy_to", None)
        self._buffer = b""
        self._at = 0
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry; None at the archive's end. Raises TarError."""
        self._skip(self._left + self._padding)
        path = link = None
        pax: dict[bytes, bytes] = {}
        pairs: list[bytes] = []
        for turn in range(MAX_HEADERS_IN_A_ROW + 1):
            header = self._take(BLOCK_BYTES, may_end=not turn)
            if header == _END:
                return None
            fields = HEADER.unpack(header)
            claimed = number(fields[6])
            if (header_sum(header) - sum(fields[6]) + 256 - claimed) % 65521:
                raise TarError("a header has a wrong sum")
            kind: bytes = fields[7]
            if kind not in _EXTENDED:
                entry = self._entry(header, fields, path, link, pax, pairs)
                self._padding = -self._left % BLOCK_BYTES
                return entry
            content = self._extension(number(fields[4]))
            if kind == b"L":
                path = content.partition(b"\0")[0]
            elif kind == b"K":
                link = content.partition(b"\0")[0]
            elif kind != b"g":  # those for all entries are notes, such as git's commit
                for key, value in records(content):
                    pax[key] = value
                    if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                        pairs.append(value)
        raise TarError("headers within headers without end")

    def read(self, size: int) -> bytes:
        """At most `size` bytes of the entry's stored content; empty only at its end. Raises TarError when the stream ends
        before."""
        wanted = min(size, self._left)
        if not wanted:
            return b""
        if self._at >= len(self._buffer):
            self._fill()
        data = self._buffer[self._at : self._at + wanted]
        self._at += len(data)
        self._left -= len(data)
        return data

    def whole(self) -> bytes:
        """All that is left of the entry's stored content, for what is known to be small."""
        data = self._take(self._left)
        self._left = 0
        return data

    def copy_to(self, fd: int, entry: Entry, on_bytes: Callable[[int], None] | None = None) -> None:
        """Write an entry's content to an empty file, holes left out; `on_bytes` hears of each piece. Raises TarError, OSError."""
        if entry.regions is None:
            self._copy(fd, self._left, on_bytes)
            return
        for offset, length in entry.regions:
            os.lseek(fd, offset, os.SEEK_SET)
            self._copy(fd, length, on_bytes)
        os.ftruncate(fd, entry.size)

    def rest(self, limit: int) -> None:
        """Read what follows the archive's end. Raises TarError for more than `limit` bytes."""
        size = len(self._buffer) - self._at
        while chunk := self._source.read(READ_BYTES):
            size += len(chunk)
            if size > limit:
                break
        if size > limit:
            raise TarError("more after the end of the archive")

    def _copy(self, fd: int, size: int, on_bytes: Callable[[int], None] | None) -> None:
        left = size
        while left:
            if self._copy_to is not None and self._at >= len(self._buffer):
                count = self._copy_to(fd, left)
                if not count:
                    raise TarError("the stream ended early")
                self._left -= count
            else:
                data = memoryview(self.read(min(left, READ_BYTES)))
                count = len(data)
                while data:
                    data = data[os.write(fd, data) :]
            left -= count
            if on_bytes is not None:
                on_bytes(count)

    # ------------------------------------------------------------ bytes

    def _fill(self) -> None:
        self._buffer = self._source.read(READ_BYTES)
        self._at = 0
        if not self._buffer:
            raise TarError("the stream ended early")

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        """Exactly `size` bytes; with `may_end` zeros where the stream ends without another byte."""
        end = self._at + size
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            return data
        parts = [self._buffer[self._at :]]
        missing = size - len(parts[0])
        self._buffer, self._at = b"", 0
        while missing:
            chunk = self._source.read(READ_BYTES)
            if not chunk:
                if may_end and not any(parts):
                    return bytes(size)
                raise TarError("the stream ended early")
            parts.append(chunk[:missing])
            if len(chunk) > missing:
                self._buffer, self._at = chunk, missing
            missing -= len(parts[-1])
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        self._left = self._padding = 0
        while size:
            if self._at >= len(self._buffer):
                self._fill()
            count = min(size, len(self._buffer) - self._at)
            self._at += count
            size -= count

    def _extension(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise TarError(f"a header of {size} bytes")
        return self._take(size + -size % BLOCK_BYTES)[:size]

    # ------------------------------------------------------------ entries

    def _entry(
        self, header: bytes, fields: tuple[bytes, ...], path: bytes | None, link: bytes | None,
        pax: dict[bytes, bytes], pairs: list[bytes],
    ) -> Entry:  # fmt: skip
        kind = fields[7]
        stored = decimal(pax[b"size"]) if b"size" in pax else number(fields[4])
        path = path or pax.get(b"path") or short_path(fields)
        entry = Entry(
            path=path,
            kind=FILE if kind in _FILES else kind,
            mode=number(fields[1]) & 0o7777,
            uid=decimal(pax[b"uid"]) if b"uid" in pax else number(fields[2]),
            gid=decimal(pax[b"gid"]) if b"gid" in pax else number(fields[3]),
            mtime_ns=time_ns(pax[b"mtime"]) if b"mtime" in pax else number(fields[5], signed=True) * 10**9,
            link=link or pax.get(b"linkpath") or fields[8].partition(b"\0")[0],
        )
        if entry.uid > _MAX_ID or entry.gid > _MAX_ID or abs(entry.mtime_ns) > _MAX_TIME_NS:
            raise TarError("an entry with an owner or a time that cannot be")
        if stored > _MAX_BYTES:
            raise TarError("an entry with a size that cannot be")
        if b"\0" in path or b"\0" in entry.link:
            raise TarError("a name with a zero byte in it")
        if (kind in (b"\0", b"0") and path.endswith(b"/")) or kind == b"D":
            entry.kind = DIRECTORY
        if entry.kind == FILE:
            self._left = entry.size = stored
            if kind == b"S":
                self._old_sparse(entry, header)
            elif pax:
                self._pax_sparse(entry, pax, pairs)
        else:
            if kind in (b"3", b"4"):
                entry.major, entry.minor = number(fields[12]), number(fields[13])
                if max(entry.major, entry.minor) > _MAX_DEVICE:
                    raise TarError("a device with a number that cannot be")
            self._left = (
                0 if kind in _WITHOUT_CONTENT else stored
            )  # old archives give a hard link its file's size
        if pax:
            entry.xattrs = xattrs(pax)
        return entry

    def _old_sparse(self, entry: Entry, header: bytes) -> None:
        """Four regions in the header, more in blocks after it."""
        regions = old_regions(header[386:482])
        more = header[482]
        entry.size = number(header[483:495])
        while more:
            block = self._take(BLOCK_BYTES)
            regions += old_regions(block[:504])
            more = block[504]
            check_count(len(regions))
        self._set_regions(entry, regions)

    def _pax_sparse(self, entry: Entry, pax: dict[bytes, bytes], pairs: list[bytes]) -> None:
        if pax.get(b"GNU.sparse.major") == b"1":
            numbers = self._sparse_map()
        elif b"GNU.sparse.map" in pax:
            numbers = [decimal(text) for text in pax[b"GNU.sparse.map"].split(b",") if text]
        elif b"GNU.sparse.size" in pax:
            numbers = [decimal(text) for text in pairs]
        else:
            return
        check_count(len(numbers) // 2)
        entry.size = decimal(pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"")
        entry.path = pax.get(b"GNU.sparse.name") or entry.path
        if len(numbers) % 2 or b"\0" in entry.path:
            raise TarError("a sparse file with a malformed map")
        self._set_regions(entry, list(zip(numbers[::2], numbers[1::2], strict=True)))

    def _sparse_map(self) -> list[int]:
        """Form 1.0: numbers, a line each, before the content: how many regions, then the regions; padded to a block."""
        blocks: list[bytes] = []
        lines, wanted, most = 0, 0, 1
        while not blocks or lines <= wanted:
            if self._left < BLOCK_BYTES or len(blocks) >= most:
                raise TarError("the map of a sparse file has no end")
            blocks.append(self._take(BLOCK_BYTES))
            self._left -= BLOCK_BYTES
            lines += blocks[-1].count(b"\n")
            if len(blocks) == 1:
                count = decimal(blocks[0].partition(b"\n")[0])
                check_count(count)
                wanted = 2 * count
                most = (wanted + 1) * MAX_DIGITS // BLOCK_BYTES + 2
        return [decimal(line) for line in b"".join(blocks).split(b"\n")[1 : wanted + 1]]

    def _set_regions(self, entry: Entry, regions: list[tuple[int, int]]) -> None:
        if entry.size > _MAX_BYTES:
            raise TarError("an entry with a size that cannot be")
        end = stored = 0
        for offset, length in regions:
            if offset < end or offset + length > entry.size:
                raise TarError("a sparse file whose regions overlap")
            end = offset + length
            stored += length
        if stored != self._left:
            raise TarError("a sparse file whose regions do not add up")
        entry.regions = tuple(region for region in regions if region[1])
