"""The names in a directory of a running box, as fast as they can be had: somebody has pressed the tab key.

One call of the portal, spoken by hand: loading grpcio, or any library for HTTP/2 and messages, takes several times as long as
the agent needs to answer. Whatever else it may do here, a box that answers wrongly only withholds names. Formats: RFC 9113
(HTTP/2), RFC 7541 section 6.2.2 (HPACK), gRPC over HTTP/2, protocol buffers' encoding; messages: guest/wire/portal.proto.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from typing import TYPE_CHECKING

from engine.errors import RpcTransportError
from engine.portal.frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameGuard,
)
from engine.portal.greeting import greet
from engine.portal.ports import find_lease
from guest.wire.constants import PORTAL_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 1 << 20
"""What is read of a listing: about ten thousand names."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_INITIAL_WINDOW_SIZE = 4
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_MESSAGE_HEADER_BYTES = 5
_HEADERS = (
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/boxlite.v1.Files/List"), (b":authority", b"box"),
    (b"te", b"trailers"), (b"content-type", b"application/grpc"),
)  # fmt: skip
Name = tuple[bytes, bool]
"""A name, and whether it is that of a directory."""


def glance_directory(sockets_dir: str, directory: bytes, *, patience_s: float) -> list[Name]:
    """What the directory holds, as root sees it; empty where that cannot be told within twice `patience_s`."""
    lease = find_lease(sockets_dir, "portal", range(PORTAL_PORTS - 1, -1, -1))
    if lease is None:
        return []
    try:
        with socket.socket(socket.AF_UNIX) as port:
            port.connect(_address(sockets_dir, lease.number))
            greet(port, flush=lease.was_abandoned, patience_s=(patience_s / 2, patience_s / 2))
            return list(_names(_listing(port, directory, time.monotonic() + patience_s)))
    except (OSError, RpcTransportError, ValueError, IndexError):
        return []
    finally:
        lease.release()


def _address(sockets_dir: str, number: int) -> str:
    """Through a descriptor where it is too long for a socket's address (unix(7)); the process is about to end."""
    path = f"{sockets_dir}/portal-{number}.sock"
    if len(os.fsencode(path)) < 100 or not hasattr(os, "O_PATH"):
        return path
    return f"/proc/self/fd/{os.open(sockets_dir, os.O_PATH)}/portal-{number}.sock"


def _listing(port: socket.socket, directory: bytes, deadline: float) -> bytes:
    """The bytes of the FileEntries message that the agent sends, or as many as are read."""
    request = _field(1, directory) + _field(2, b"0")
    message = b"\0" + len(request).to_bytes(4, "big") + request
    fields = b"".join(_literal(name, value) for name, value in _HEADERS)
    port.sendall(
        _PREFACE
        + _frame(SETTINGS, 0, 0, _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + MOST_BYTES.to_bytes(4, "big"))
        + _frame(WINDOW_UPDATE, 0, 0, MOST_BYTES.to_bytes(4, "big"))
        + _frame(HEADERS, _END_HEADERS, 1, fields)
        + _frame(DATA, _END_STREAM, 1, message)
    )
    answer = bytearray()
    for kind, flags, stream, payload in _frames(port, deadline):
        if kind in (SETTINGS, PING) and not flags & _ACK:
            port.sendall(_frame(kind, _ACK, 0, b"" if kind == SETTINGS else payload))
        elif kind == DATA and stream == 1:
            answer += payload
        if kind in (GOAWAY, RST_STREAM) or len(answer) >= MOST_BYTES:
            break
        if kind in (DATA, HEADERS, CONTINUATION) and stream == 1 and flags & _END_STREAM:
            break
    return b"".join(data for chunk in _messages(answer) for number, data, _ in _fields(chunk) if number == 2)


def _frames(port: socket.socket, deadline: float) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of what comes, each frame held against the rules for an agent."""
    guard = FrameGuard()
    received = bytearray()
    while True:
        while len(received) >= HEADER_BYTES:
            length = int.from_bytes(received[:3], "big")
            if len(received) < HEADER_BYTES + length:
                break
            stream = int.from_bytes(received[5:9], "big") & 0x7FFFFFFF
            yield received[3], received[4], stream, bytes(received[HEADER_BYTES : HEADER_BYTES + length])
            del received[: HEADER_BYTES + length]
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        port.settimeout(left_s)
        piece = port.recv(1 << 16)
        if not piece:
            return
        guard.check(memoryview(piece))
        received += piece


def _messages(answer: bytearray) -> Iterator[bytes]:
    """Those of a gRPC stream that are there as a whole."""
    at = 0
    while at + _MESSAGE_HEADER_BYTES <= len(answer):
        end = at + _MESSAGE_HEADER_BYTES + int.from_bytes(answer[at + 1 : at + _MESSAGE_HEADER_BYTES], "big")
        if end > len(answer):
            return
        yield bytes(answer[at + _MESSAGE_HEADER_BYTES : end])
        at = end


def _names(listing: bytes) -> Iterator[Name]:
    for number, entry, _ in _fields(listing):
        if number == 1:
            name, mode = b"", 0
            for part, data, _ in _fields(entry):
                if part == 1:
                    name = data
                elif part == 2:
                    mode = next((value for field, _, value in _fields(data) if field == 2), 0)
            yield name, stat.S_ISDIR(mode)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Number and value of each field: the bytes of one that has a length, else the integer. Ends where a value is cut off."""
    at = 0
    while at < len(message):
        tag, at = _integer(message, at)
        if tag & 7 == 0:
            value, at = _integer(message, at)
            yield tag >> 3, b"", value
        elif tag & 7 == 2:
            length, at = _integer(message, at)
            if at + length > len(message):
                return
            yield tag >> 3, message[at : at + length], 0
            at += length
        else:
            raise ValueError("a field of a kind that no message here has")


def _integer(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("an integer that is too long")


def _field(number: int, value: bytes) -> bytes:
    """A field with a length."""
    length, size = b"", len(value)
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that no table is to remember; both lengths are below 127."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
