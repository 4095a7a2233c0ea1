"""The frames an agent may send: all that a real server sends in any pieces, and nothing that would end grpcio."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RpcTransportError
from engine.portal.frames import FrameGuard
from guest.wire.constants import MAX_FRAME_BYTES


def frame(kind: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, 0]) + struct.pack(">I", stream) + payload


RIGHT = [
    frame(4, 0, bytes(12)), frame(4, 0), frame(6, 0, bytes(8)), frame(8, 0, bytes(4)), frame(8, 1, bytes(4)),
    frame(1, 1, b"head"), frame(9, 1, b"more"), frame(0, 1, bytes(70000)), frame(0, 1), frame(3, 5, struct.pack(">I", 8)),
    frame(7, 0, struct.pack(">II", 5, 0xD) + b"bye"),
]  # fmt: skip
WRONG = [
    frame(7, 0, struct.pack(">II", 0, 0xE)), frame(7, 0, struct.pack(">II", 0, 0xFFFFFFFF)), frame(7, 0, bytes(7)),
    frame(3, 1, struct.pack(">I", 0xE)), frame(3, 1, bytes(5)), frame(2, 1, bytes(5)), frame(5, 1, bytes(8)),
    frame(10, 0), frame(255, 0), frame(0, 0, b"x"), frame(0, 2, b"x"), frame(4, 1), frame(6, 0, bytes(9)),
    frame(0, 1, length=MAX_FRAME_BYTES + 1), frame(1, 1, length=70000),
]  # fmt: skip


@settings(deadline=None)
@given(frames=st.lists(st.sampled_from(RIGHT), max_size=6), cut=st.integers(1, 50000))
def test_guard_passes_what_a_server_sends_in_any_pieces(frames: list[bytes], cut: int) -> None:
    guard, stream = FrameGuard(), b"".join(frames)
    for start in range(0, len(stream), cut):
        guard.check(memoryview(stream)[start : start + cut])


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("cut", [1, 7, 100000])
def test_guard_refuses_what_no_agent_sends(wrong: bytes, cut: int) -> None:
    guard, stream = FrameGuard(), RIGHT[0] + RIGHT[7] + wrong
    with pytest.raises(RpcTransportError):
        for start in range(0, len(stream), cut):
            guard.check(memoryview(stream)[start : start + cut])


def test_guard_refuses_small_frames_without_end() -> None:
    guard, pings = FrameGuard(), memoryview(frame(6, 0, bytes(8)) * 1000)
    with pytest.raises(RpcTransportError, match="without end"):
        for _ in range(100):
            guard.check(pings)
