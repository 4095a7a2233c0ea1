"""What stands in the headers of a tar archive, taken apart; what is no valid field is a TarError."""

from __future__ import annotations

from collections.abc import Iterator

from guest.wire.tar import MAX_REGIONS, XATTR_PREFIX, TarError

MAX_DIGITS = 20
MAX_XATTR_BYTES = 64 * 1024
"""XATTR_SIZE_MAX and XATTR_LIST_MAX (xattr(7)): no file has more."""


def number(raw: bytes, *, signed: bool = False) -> int:
    """An octal field, or GNU's binary form."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big", signed=raw[0] == 0xFF)
        if value > 0:
            value -= 0x80 << (8 * len(raw) - 8)  # the mark of a binary number is no digit of it
    else:
        digits = raw.partition(b"\0")[0].strip()
        try:
            value = int(digits, 8) if digits else 0
        except ValueError:
            raise TarError("a header whose numbers are none") from None
    if value < 0 and not signed:
        raise TarError("a header with a number below zero")
    return value


def decimal(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > MAX_DIGITS:
        raise TarError("an extended header whose numbers are none")
    return int(raw)


def time_ns(raw: bytes) -> int:
    sign = -1 if raw.startswith(b"-") else 1
    whole, _, part = raw.removeprefix(b"-").partition(b".")
    return sign * (decimal(whole or b"0") * 10**9 + decimal(part[:9].ljust(9, b"0")))


def short_path(fields: tuple[bytes, ...]) -> bytes:
    name = fields[0].partition(b"\0")[0]
    prefix = fields[14].partition(b"\0")[0] if fields[9] == b"ustar\x0000" else b""
    return prefix + b"/" + name if prefix else name


def records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Records are `LENGTH KEY=VALUE` and a line's end, the length counting itself."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 10)
        length = content[at:space] if space > 0 else b""
        end = at + int(length) if length.isdigit() else -1
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not space + 1 < end <= len(content) or content[end - 1] != 10 or not equals or not key:
            raise TarError("an extended header with a malformed record")
        yield key, value
        at = end


def xattrs(pax: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    found = tuple(
        (key[len(XATTR_PREFIX) :], value) for key, value in pax.items() if key.startswith(XATTR_PREFIX)
    )
    if any(b"\0" in key for key, _ in found) or sum(len(k) + len(v) for k, v in found) > MAX_XATTR_BYTES:
        raise TarError("an entry with attributes that cannot be")
    return found


def old_regions(raw: bytes) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(raw) - 23, 24):
        if not raw[at]:
            break
        found.append((number(raw[at : at + 12]), number(raw[at + 12 : at + 24])))
    return found


def check_count(count: int) -> None:
    if count > MAX_REGIONS:
        raise TarError(f"a sparse file in more than {MAX_REGIONS} pieces")
