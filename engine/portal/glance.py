"""The names in a directory of a running box, as fast as they can be had: somebody has pressed the tab key.

One call of the portal without grpcio, which takes several times as long to load as the agent needs to answer: h2 speaks
HTTP/2, and gRPC is five bytes before each message (gRPC over HTTP/2, PROTOCOL-HTTP2.md). Both libraries are loaded while the
agent answers the greeting. Whatever else it may do here, a box that answers wrongly only withholds names.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING

from engine.errors import RpcTransportError
from engine.portal.frames import FrameGuard
from engine.portal.greeting import greet
from engine.portal.ports import find_lease
from guest.wire.constants import PORTAL_PORTS

if TYPE_CHECKING:
    from h2.connection import H2Connection

MOST_BYTES = 1 << 20
"""What is read of a listing: about ten thousand names."""
_PIECE_BYTES = 1 << 16
_MESSAGE_HEADER_BYTES = 5
_HEADERS = (
    (":method", "POST"), (":scheme", "http"), (":path", "/boxlite.v1.Files/List"), (":authority", "box"),
    ("te", "trailers"), ("content-type", "application/grpc"),
)  # fmt: skip
Name = tuple[bytes, bool]
"""A name, and whether it is that of a directory."""


def glance_directory(sockets_dir: str, directory: bytes, *, patience_s: float) -> list[Name]:
    """What the directory holds, as root sees it; empty where that cannot be told within `patience_s`."""
    lease = find_lease(sockets_dir, "portal", range(PORTAL_PORTS - 1, -1, -1))
    if lease is None:
        return []
    loading = threading.Thread(target=_load)
    try:
        with socket.socket(socket.AF_UNIX) as port:
            port.connect(_address(sockets_dir, lease.number))
            loading.start()
            deadline = time.monotonic() + patience_s
            greet(port, flush=lease.was_abandoned, patience_s=(patience_s,))
            loading.join()
            return _names(_listing(port, directory, deadline))
    except (OSError, RpcTransportError, ValueError):
        return []
    finally:
        lease.release()


def _load() -> None:
    import h2.connection  # noqa: F401

    from guest.wire import portal_pb2  # noqa: F401


def _address(sockets_dir: str, number: int) -> str:
    """Through a descriptor where it is too long for a socket's address (unix(7)); the process is about to end."""
    path = f"{sockets_dir}/portal-{number}.sock"
    if len(os.fsencode(path)) < 100 or not hasattr(os, "O_PATH"):
        return path
    return f"/proc/self/fd/{os.open(sockets_dir, os.O_PATH)}/portal-{number}.sock"


def _listing(port: socket.socket, directory: bytes, deadline: float) -> bytes:
    """The messages that the agent sends, or as many bytes of them as are read. Raises OSError, RpcTransportError,
    ValueError for an answer that is not HTTP/2."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset
    from h2.exceptions import ProtocolError

    from guest.wire import portal_pb2 as wire

    request = wire.ListFilesRequest(path=directory, user="0").SerializeToString()
    connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    connection.initiate_connection()
    connection.increment_flow_control_window(MOST_BYTES)
    connection.send_headers(1, _HEADERS)
    connection.increment_flow_control_window(MOST_BYTES, 1)
    connection.send_data(1, b"\0" + len(request).to_bytes(4, "big") + request, end_stream=True)
    answer, guard = bytearray(), FrameGuard()
    while len(answer) < MOST_BYTES:
        piece = _exchange(port, connection, deadline)
        guard.check(memoryview(piece))
        try:
            events = connection.receive_data(piece)
        except ProtocolError as error:
            raise ValueError("not HTTP/2") from error
        for event in events:
            if isinstance(event, DataReceived):
                answer += event.data
            if isinstance(event, StreamEnded | StreamReset | ConnectionTerminated):
                return bytes(answer)
        if not piece:
            break
    return bytes(answer)


def _exchange(port: socket.socket, connection: H2Connection, deadline: float) -> bytes:
    """Send what is to be sent, and return what comes next."""
    port.settimeout(max(deadline - time.monotonic(), 0.001))
    port.sendall(connection.data_to_send())
    return port.recv(_PIECE_BYTES)


def _names(answer: bytes) -> list[Name]:
    """What the messages say that came as a whole. Raises ValueError for what is none of ours."""
    from google.protobuf.message import DecodeError

    from guest.wire import portal_pb2 as wire

    at, listing = 0, b""
    try:
        while at + _MESSAGE_HEADER_BYTES <= len(answer):
            start = at + _MESSAGE_HEADER_BYTES
            at = start + int.from_bytes(answer[at + 1 : start], "big")
            if at <= len(answer):
                listing += wire.DownloadChunk.FromString(answer[start:at]).data
        entries = wire.FileEntries.FromString(listing).entries
    except DecodeError as error:
        raise ValueError("not a listing") from error
    return [(entry.path, stat.S_ISDIR(entry.stat.mode)) for entry in entries]
