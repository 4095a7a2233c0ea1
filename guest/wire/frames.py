"""Frames of a lane (see guest.wire.constants), taken apart. Both sides use it on what the other one sends."""

from __future__ import annotations

from collections.abc import Iterator

from guest.wire.constants import LANE_FRAME_BYTES, LANE_HEADER

STREAMS = (1, 2)


class FrameError(ValueError):
    """What came is no frame."""


class FrameParser:
    """Keeps no more of what came than part of a header."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Parts of the frames in `data`, in order, as (stream, part); an empty part is the end of that stream. The parts
        are views of `data`. Raises FrameError."""
        while data:
            if not self._left:
                wanted = LANE_HEADER.size - len(self._header)
                self._header += data[:wanted]
                data = data[wanted:]
                if len(self._header) < LANE_HEADER.size:
                    return
                self._stream, self._left = LANE_HEADER.unpack(self._header)
                self._header = b""
                if self._stream not in STREAMS or self._left > LANE_FRAME_BYTES:
                    raise FrameError(f"a frame of {self._left} bytes of stream {self._stream}")
                if not self._left:
                    yield self._stream, data[:0]
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            yield self._stream, part
