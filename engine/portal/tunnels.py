"""A TCP port of a box, over its session: one call a connection, with HTTP/2's flow control."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from engine.errors import PortalError
from engine.net.flow import Flow
from engine.portal.failures import translated
from guest.wire import portal_pb2 as wire
from guest.wire.constants import OUTPUT_CHUNK_BYTES

if TYPE_CHECKING:
    from engine.portal.session import GuestSession


class TunnelFlow(Flow):
    """A connection to a server in the box."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self._call = call
        self._over = False

    async def _read(self, max_bytes: int) -> bytes:
        if self._over:
            return b""
        with _as_lost_connection():
            message = await self._call.read()
        if not isinstance(message, wire.TunnelChunk) or message.end:
            self._over = True
            return b""
        if len(message.data) > max_bytes:
            self.unread(message.data[max_bytes:])
        return message.data[:max_bytes]

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), OUTPUT_CHUNK_BYTES):
            with _as_lost_connection():
                await self._call.write(wire.TunnelChunk(data=data[start : start + OUTPUT_CHUNK_BYTES]))

    async def write_eof(self) -> None:
        with _as_lost_connection():
            await self._call.done_writing()

    def close(self) -> None:
        self._call.cancel()

    def abort(self) -> None:
        self._call.cancel()


class _as_lost_connection(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as the context manager it is
    """What a flow raises when the call it rides on fails."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import asyncio

        import grpc

        if isinstance(error, grpc.aio.AioRpcError | grpc.aio.UsageError | asyncio.InvalidStateError):
            raise ConnectionResetError("the tunnel was lost") from error


async def open_tunnel(session: GuestSession, port: int) -> Flow:
    """Connect to a TCP port of the box. Raises NotFoundError when nothing listens there."""
    call = session.tunnel()
    try:
        with translated("tunnel"):
            await call.write(wire.TunnelChunk(port=port))
            await call.read()
            if call.done():  # refused: the reason comes with the status
                await call
    except PortalError:
        call.cancel()
        raise
    return TunnelFlow(call)
