"""Frames of a lane, however they are cut."""

from __future__ import annotations

import pytest

from guest.wire.constants import LANE_FRAME_BYTES, LANE_HEADER
from guest.wire.frames import FrameError, FrameParser

PIECES = ((1, b"hello"), (2, b"x" * 300), (1, b"w"), (2, b""), (1, b""))
WIRE = b"".join(LANE_HEADER.pack(stream, len(data)) + data for stream, data in PIECES)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 11, 64, len(WIRE)])
def test_frame_parser_stream_in_pieces_gives_every_byte_and_end_once(size: int) -> None:
    parser = FrameParser()
    streams = {1: b"", 2: b""}
    ends = []
    for start in range(0, len(WIRE), size):
        for stream, part in parser.feed(memoryview(WIRE[start : start + size])):
            assert stream not in ends
            streams[stream] += part
            if not part:
                ends.append(stream)

    assert streams == {1: b"hellow", 2: b"x" * 300}
    assert ends == [2, 1]


@pytest.mark.parametrize("header", [(0, 0), (3, 1), (1, LANE_FRAME_BYTES + 1)])
def test_frame_parser_what_is_no_frame_is_refused(header: tuple[int, int]) -> None:
    with pytest.raises(FrameError):
        list(FrameParser().feed(memoryview(LANE_HEADER.pack(*header))))
