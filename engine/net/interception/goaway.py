"""GOAWAY apart from the rest of HTTP/2 (RFC 9113, 6.8).

A peer that says it goes away still answers what it was asked. h2 takes every further frame for an error, so it never gets
to see that one.
"""

from __future__ import annotations

_PREFACE_BYTES = 24
_HEADER_BYTES = 9
_GOAWAY = 7


class GoAwayFilter:
    """Takes GOAWAY frames out of what a peer sends. `preface`: it is a client, which begins with 24 bytes of its own."""

    def __init__(self, *, preface: bool) -> None:
        self.said_goodbye = False
        self._passing = _PREFACE_BYTES if preface else 0
        self._dropping = 0
        self._head = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes without those frames. Fewer than nine may be kept back, until it is known what they begin."""
        kept: list[bytes] = []
        offset = 0
        while offset < len(data):
            if self._passing:
                part = data[offset : offset + self._passing]
                kept.append(part)
                self._passing -= len(part)
                offset += len(part)
            elif self._dropping:
                size = min(self._dropping, len(data) - offset)
                self._dropping -= size
                offset += size
            else:
                part = data[offset : offset + _HEADER_BYTES - len(self._head)]
                self._head += part
                offset += len(part)
                if len(self._head) == _HEADER_BYTES:
                    kept.append(self._begin_frame(self._head))
                    self._head = b""
        return b"".join(kept)

    def _begin_frame(self, head: bytes) -> bytes:
        length = int.from_bytes(head[:3], "big")
        if head[3] == _GOAWAY:
            self.said_goodbye = True
            self._dropping = length
            return b""
        self._passing = length
        return head


def goaway_frame(last_stream_id: int) -> bytes:
    """A GOAWAY without an error: streams up to that one are still answered."""
    return b"\x00\x00\x08\x07\x00" + bytes(4) + last_stream_id.to_bytes(4, "big") + bytes(4)
