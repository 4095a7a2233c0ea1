"""Compressed streams, taken apart with bounded memory and a cap on what comes out.

The kind is known by the first bytes, not by what a manifest says: registries hold layers whose media type lies.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import IO, Protocol, cast

from engine.errors import ImageError, ResourceExhaustedError, UnsupportedError

CHUNK_BYTES = 1 << 20
"""Most that one step gives out."""

_INPUT_BYTES = 1 << 18
_GZIP_OR_ZLIB_WINDOW = 31
_ZSTD_WINDOW_MAX_BYTES = 1 << 27
"""The largest window zstd's command line opens without being asked to (zstd(1), --long)."""


class Compression(StrEnum):
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    XZ = "xz"


_MAGIC = (
    (b"\x1f\x8b", Compression.GZIP),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"BZh", Compression.BZIP2),
    (b"\xfd7zXZ\x00", Compression.XZ),
)


class _Inflater(Protocol):
    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


def detect_compression(head: bytes) -> Compression:
    """The kind of a stream by its first six bytes. A zstd stream may open with a skippable frame (RFC 8878, 3.1.2)."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return Compression.ZSTD
    return Compression.NONE


def iter_decompressed(source: IO[bytes], *, limit_bytes: int, what: str) -> Iterator[bytes]:
    """Yield the content of `source` in pieces of at most CHUNK_BYTES.

    Raises ResourceExhaustedError once more than `limit_bytes` come out, ImageError when the stream is damaged or ends
    early. `what` names the stream in messages.
    """
    head = source.read(_INPUT_BYTES)
    kind = detect_compression(head)
    total = 0
    for piece in _decompressors[kind](head, source, what):
        total += len(piece)
        if total > limit_bytes:
            raise ResourceExhaustedError(
                f"{what} is larger than {limit_bytes} bytes when decompressed",
                hint="if you trust the image, raise BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE",
            )
        yield piece


def _plain(head: bytes, source: IO[bytes], what: str) -> Iterator[bytes]:
    while head:
        yield head
        head = source.read(CHUNK_BYTES)


def _gzip(head: bytes, source: IO[bytes], what: str) -> Iterator[bytes]:
    new_inflater, broken = inflate_library()
    inflater = new_inflater(_GZIP_OR_ZLIB_WINDOW)
    waiting = head
    try:
        while True:
            if inflater.eof:
                waiting = inflater.unused_data or source.read(_INPUT_BYTES)
                if not waiting.startswith(b"\x1f"):  # nothing more, or padding after the last member
                    return
                inflater = new_inflater(_GZIP_OR_ZLIB_WINDOW)
            elif not waiting:
                waiting = source.read(_INPUT_BYTES)
            at_end = not waiting
            piece = inflater.decompress(waiting, CHUNK_BYTES)
            waiting = inflater.unconsumed_tail
            if piece:
                yield piece
            elif at_end and not inflater.eof:
                raise ImageError(f"{what} ends in the middle of its gzip stream")
    except broken as error:
        raise ImageError(f"{what} is not a valid gzip stream: {error}") from error


def inflate_library() -> tuple[Callable[[int], _Inflater], type[Exception]]:
    """Intel's ISA-L where it is installed (twice as fast as zlib), else zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return cast("Callable[[int], _Inflater]", zlib.decompressobj), zlib.error
    return cast("Callable[[int], _Inflater]", isal_zlib.decompressobj), cast(
        "type[Exception]", isal_zlib.error
    )


def _zstd(head: bytes, source: IO[bytes], what: str) -> Iterator[bytes]:
    import zstandard

    class Rejoined:
        """The stream with its head put back."""

        def __init__(self) -> None:
            self._head = head

        def read(self, size: int = -1) -> bytes:
            if self._head:
                first, self._head = self._head, b""
                return first
            return source.read(size)

    context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX_BYTES)
    reader = context.stream_reader(
        cast("IO[bytes]", Rejoined()), read_size=_INPUT_BYTES, read_across_frames=True
    )
    try:
        while piece := reader.read(CHUNK_BYTES):
            yield piece
    except zstandard.ZstdError as error:
        raise ImageError(f"{what} is not a valid zstd stream: {error}") from error


def _unsupported(head: bytes, source: IO[bytes], what: str) -> Iterator[bytes]:
    raise UnsupportedError(
        f"{what} is compressed with {detect_compression(head)}",
        hint="use gzip, zstd or no compression",
    )
    yield b""


_decompressors: dict[Compression, Callable[[bytes, IO[bytes], str], Iterator[bytes]]] = {
    Compression.NONE: _plain,
    Compression.GZIP: _gzip,
    Compression.ZSTD: _zstd,
    Compression.BZIP2: _unsupported,
    Compression.XZ: _unsupported,
}
