"""Fields of tar headers, and reads of the file they lie in. What is no valid field is an ImageError."""

from __future__ import annotations

import os

from engine.errors import ImageError

BLOCK_BYTES = 512

_WINDOW_BYTES = 1 << 15
_MAX_ID = 2**32 - 2


class Window:
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
        """As many of `size` bytes as there are."""
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._buffer):
            self._buffer = os.pread(self._fd, max(size, _WINDOW_BYTES), offset)
            self._start = offset
            begin = 0
        return self._buffer[begin : begin + size]


def number(raw: bytes, name: str, offset: int, what: str) -> int:
    """An octal or, by GNU's extension, big-endian binary number. Negative ones are refused but for a time's."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big", signed=raw[0] == 0xFF)
        if value > 0:
            value -= 0x80 << (8 * len(raw) - 8)  # the mark of a binary number, no digit of it
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


def decimal(raw: bytes, name: str, what: str) -> int:
    """A number in a pax header; never negative."""
    if not raw.isdigit() or len(raw) > 20:
        raise ImageError(f"{what} is damaged: the {name} {shown(raw)} of a pax header is not a number")
    return int(raw)


def owner_id(pax: bytes | None, raw: bytes, name: str, offset: int, what: str) -> int:
    """A user's or group's number: from the pax header where there is one, else from the field."""
    value = decimal(pax, name, what) if pax is not None else number(raw, name, offset, what)
    if value > _MAX_ID:
        raise ImageError(f"{what} is damaged: {name} {value} is larger than any user or group can be")
    return value


def time_ns(pax: bytes | None, raw: bytes, offset: int, what: str) -> int:
    """Nanoseconds since 1970."""
    if pax is None:
        return number(raw, "time", offset, what) * 10**9
    sign = -1 if pax.startswith(b"-") else 1
    whole, _, part = pax.removeprefix(b"-").partition(b".")
    nanoseconds = decimal(part[:9].ljust(9, b"0"), "mtime", what)
    return sign * (decimal(whole or b"0", "mtime", what) * 10**9 + nanoseconds)


def check_room(data_offset: int, stored: int, size_bytes: int, what: str) -> None:
    """Raise ImageError unless `stored` bytes from `data_offset` on lie within an archive of `size_bytes`."""
    if stored > size_bytes - data_offset:
        raise ImageError(
            f"{what} is truncated: an entry's {stored} bytes at byte {data_offset} reach past its end"
        )


def padded(size: int) -> int:
    """What `size` bytes take in whole blocks."""
    return (size + BLOCK_BYTES - 1) & -BLOCK_BYTES


def shown(raw: bytes) -> str:
    """Foreign bytes, shortened and made printable for a message."""
    return repr(raw[:80])[1:]
