"""Lanes: connections that carry the bulk bytes of one call past gRPC, in frames (see guest.wire.constants).

A machine has a few. One that is not to be had is no error: the call then carries its bytes in messages, more slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from engine.errors import PortalError, RpcTransportError
from engine.portal.greeting import greet
from engine.portal.ports import PortLease, find_lease
from engine.sockets import connect_unix
from guest.wire.constants import LANE_FRAME_BYTES, LANE_HEADER, LANE_MAGIC, LANES, TICKET_BYTES
from guest.wire.frames import FrameError, FrameParser

RECEIVE_BYTES = 256 * 1024
SOCKET_BUFFER_BYTES = 1024 * 1024


class Lane:
    """An open lane. `ticket` is what a call names it by. It may be used in one direction at a time."""

    def __init__(self, port: socket.socket, ticket: bytes) -> None:
        self._port = port
        self.ticket = ticket

    async def send(self, data: bytes) -> bool:
        """Send bytes of stream 1, waiting while the box does not take them; False when it is gone, or the lane was given
        up."""
        for start in range(0, len(data), LANE_FRAME_BYTES):
            part = data[start : start + LANE_FRAME_BYTES]
            if not await self._send(LANE_HEADER.pack(1, len(part)) + part):
                return False
        return True

    async def end(self) -> bool:
        """Tell that stream 1 is over."""
        return await self._send(LANE_HEADER.pack(1, 0))

    async def _send(self, frame: bytes) -> bool:
        try:
            await asyncio.get_running_loop().sock_sendall(self._port, frame)
        except OSError:
            return False
        return True

    async def receive(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the box sends, as (stream, bytes); no bytes are the end of that stream. Ends when the lane is given up or
        the box is gone. Raises PortalError for what are no frames."""
        loop = asyncio.get_running_loop()
        buffer = bytearray(RECEIVE_BYTES)
        view = memoryview(buffer)
        parser = FrameParser()
        while True:
            try:
                count = await loop.sock_recv_into(self._port, buffer)
            except OSError:
                return
            if not count:
                return
            try:
                for stream, part in parser.feed(view[:count]):
                    yield stream, part.tobytes()
            except FrameError as error:
                raise PortalError(f"the machine sent something else than a frame: {error}") from error

    def give_up(self) -> None:
        """End it now, for whoever waits on it."""
        with contextlib.suppress(OSError):
            self._port.shutdown(socket.SHUT_RDWR)


@contextlib.asynccontextmanager
async def open_lane(sockets_dir: Path, ticket: bytes | None = None) -> AsyncIterator[Lane | None]:
    """A lane into the machine whose sockets are there, with a ticket that the box may know already; None when all are
    taken.

    Raises RpcTransportError when the machine is gone or does not answer.
    """
    lease = find_lease(sockets_dir, "lane", range(LANES))
    if lease is None:
        yield None
        return
    try:
        ticket = ticket or new_ticket()
        port = await asyncio.to_thread(_connect, sockets_dir, lease, ticket)
        try:
            yield Lane(port, ticket)
        finally:
            port.close()
    finally:
        lease.release()


def new_ticket() -> bytes:
    return secrets.token_bytes(TICKET_BYTES)


def _connect(sockets_dir: Path, lease: PortLease, ticket: bytes) -> socket.socket:
    try:
        port = connect_unix(sockets_dir / f"lane-{lease.number}.sock")
    except OSError as error:
        raise RpcTransportError(f"the machine cannot be reached: {error.strerror}") from error
    try:
        greet(port, LANE_MAGIC, ticket, flush=lease.was_abandoned)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            port.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        port.setblocking(False)
    except BaseException:
        port.close()
        raise
    return port
