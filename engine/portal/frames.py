"""What an agent may send as HTTP/2 (RFC 9113), checked frame by frame before grpcio sees it.

grpcio's core is written against servers that mean well: a GOAWAY with an error code that it does not know ends the process that
it is in (`UNREACHABLE CODE`, 1.85). So only frames that an agent has reason to send get through; one that breaks
the rules costs the box its connection. Payloads are passed by: a message of 256 KiB costs one look at nine bytes.
"""

from __future__ import annotations

import time

from engine.errors import RpcTransportError
from guest.wire.constants import MAX_FRAME_BYTES

HEADER_BYTES = 9
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
LENGTHS = {
    DATA: (0, MAX_FRAME_BYTES), HEADERS: (1, 64 * 1024), RST_STREAM: (4, 4), SETTINGS: (0, 6 * 64), PING: (8, 8),
    GOAWAY: (8, 4096), WINDOW_UPDATE: (4, 4), CONTINUATION: (1, 64 * 1024),
}  # fmt: skip
"""Kinds of frames that are taken, with their shortest and longest payload."""
OF_CONNECTION = frozenset({SETTINGS, PING, GOAWAY})
CODE_AT = {RST_STREAM: 0, GOAWAY: 4}
"""Where the error code stands in the payload."""
LAST_ERROR_CODE = 0xD
MOST_FRAMES_A_SECOND = 20_000
SMALL_BYTES = 1024
"""Frames with a longer payload carry something, and are not counted."""


class FrameGuard:
    """Follows the frames of one connection, in whatever pieces they come."""

    def __init__(self) -> None:
        self._passing = 0
        self._head = bytearray()
        self._wanted = HEADER_BYTES
        self._second = 0
        self._frames = 0

    def check(self, piece: memoryview) -> None:
        """Raises RpcTransportError when `piece` must not be passed on."""
        at = 0
        while at < len(piece):
            if self._passing:
                step = min(self._passing, len(piece) - at)
                self._passing -= step
                at += step
                continue
            step = min(self._wanted - len(self._head), len(piece) - at)
            self._head += piece[at : at + step]
            at += step
            if len(self._head) == self._wanted:
                self._begin()

    def _begin(self) -> None:
        """A header is whole, or a header and the error code after it."""
        head = self._head
        length, kind = int.from_bytes(head[:3], "big"), head[3]
        if len(head) == HEADER_BYTES:
            self._check_header(length, kind, int.from_bytes(head[5:9], "big") & 0x7FFFFFFF)
            if kind in CODE_AT:
                self._wanted = HEADER_BYTES + CODE_AT[kind] + 4
                return
        elif int.from_bytes(head[-4:], "big") > LAST_ERROR_CODE:
            raise _refusal("an error code that does not exist")
        self._passing = length - (len(head) - HEADER_BYTES)
        self._wanted = HEADER_BYTES
        head.clear()

    def _check_header(self, length: int, kind: int, stream: int) -> None:
        if kind not in LENGTHS:
            raise _refusal(f"a frame of kind {kind}")
        shortest, longest = LENGTHS[kind]
        if not shortest <= length <= longest:
            raise _refusal(f"a frame of kind {kind} with {length} bytes")
        if kind != WINDOW_UPDATE and (stream == 0) != (kind in OF_CONNECTION):
            raise _refusal(f"a frame of kind {kind} for stream {stream}")
        if stream and stream % 2 == 0:
            raise _refusal("a stream of its own")
        if length <= SMALL_BYTES:
            self._count()

    def _count(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._frames = second, 0
        self._frames += 1
        if self._frames > MOST_FRAMES_A_SECOND:
            raise _refusal("small frames without end")


def _refusal(what: str) -> RpcTransportError:
    return RpcTransportError(f"the machine sent {what}")
