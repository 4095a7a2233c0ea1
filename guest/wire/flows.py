"""What the agent and the gateway say to each other over the network port of a restricted box.

Frames: FRAME (kind, flow, length) and `length` bytes. A flow is one TCP connection, or one pair of addresses between
which datagrams go. The side that opens a flow names it: the agent with odd numbers, the gateway with even ones.

    OPEN      protocol, port and address of where it goes; from the gateway: the port of the box to connect to
    DATA      bytes of a stream. Each side may send WINDOW_BYTES on a flow, and then what CREDIT allows
    DATAGRAM  one packet (UDP), or one echo request or answer from its identifier on (ICMP). May be dropped
    CREDIT    that many bytes were taken away: as many more may be sent
    END       no more DATA from here
    RESET     the flow is over, with a reason. A frame of a flow that is over is ignored
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum

NETWORK_PORT_NAME = "boxlite.network"

FRAME = struct.Struct(">BII")
OPENING = struct.Struct(">BH16s")
CREDIT = struct.Struct(">I")
WINDOW_BYTES = 512 * 1024
CREDIT_STEP_BYTES = WINDOW_BYTES // 4
MAX_DATA_BYTES = 256 * 1024 - FRAME.size
MAX_DATAGRAM_BYTES = 65535
MAX_FLOWS = 1024
UDP_IDLE_S = 60.0

TCP, UDP, ICMP = 6, 17, 1
"""IP's own protocol numbers; ICMP stands for ICMPv6 too."""

_V4_PREFIX = bytes(10) + b"\xff\xff"


class Kind(IntEnum):
    OPEN = 1
    DATA = 2
    DATAGRAM = 3
    CREDIT = 4
    END = 5
    RESET = 6


class Reason(IntEnum):
    """Why a flow was reset."""

    LOST = 0
    REFUSED = 1
    UNREACHABLE = 2
    DENIED = 3


class FramingError(Exception):
    """The other side does not keep to the protocol."""


def pack_address(packed: bytes) -> bytes:
    """16 bytes of 4 or 16: IPv4 as IPv6 maps it (RFC 4291, section 2.5.5.2)."""
    return packed if len(packed) == 16 else _V4_PREFIX + packed


def unpack_address(mapped: bytes) -> bytes:
    """The 4 or 16 bytes of an address."""
    return mapped[12:] if mapped.startswith(_V4_PREFIX) else mapped


def frame(kind: Kind, flow: int, payload: bytes = b"") -> bytes:
    return FRAME.pack(kind, flow, len(payload)) + payload


class FrameParser:
    """Cuts what arrives into frames. The bytes of a DATA frame are handed on as they come, in pieces; of any other, whole.

    `feed` raises FramingError for a frame that cannot be.
    """

    def __init__(self, receive: Callable[[int, int, bytes], None]) -> None:
        self._receive = receive
        self._pending = b""
        self._flow = 0
        self._data_left = 0

    def feed(self, chunk: bytes) -> None:
        data = self._pending + chunk if self._pending else chunk
        self._pending = b""
        position, end = 0, len(data)
        while position < end:
            if self._data_left:
                piece = data[position : position + self._data_left]
                self._data_left -= len(piece)
                position += len(piece)
                self._receive(Kind.DATA, self._flow, piece)
                continue
            if end - position < FRAME.size:
                break
            kind, flow, length = FRAME.unpack_from(data, position)
            if kind == Kind.DATA:
                if length > MAX_DATA_BYTES:
                    raise FramingError(f"a frame of {length} bytes")
                self._flow, self._data_left = flow, length
                position += FRAME.size
                continue
            if length > MAX_DATAGRAM_BYTES:
                raise FramingError(f"a frame of kind {kind} and {length} bytes")
            if end - position < FRAME.size + length:
                break
            start = position + FRAME.size
            position = start + length
            self._receive(kind, flow, data[start:position])
        self._pending = data[position:]
