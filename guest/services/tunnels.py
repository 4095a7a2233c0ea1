"""boxlite.v1.Tunnels: TCP ports of the box for whoever is on the host."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from guest.errors import GuestError
from guest.services.calls import streaming
from guest.wire import portal_pb2 as pb
from guest.wire.constants import BOX_ADDRESS, OUTPUT_CHUNK_BYTES

_ADDRESSES = ("127.0.0.1", BOX_ADDRESS, "::1")


class TunnelsService:
    def __init__(self, activity: Callable[[], None]) -> None:
        self._activity = activity

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/boxlite.v1.Tunnels/Connect": streaming(
                self.connect, Cardinality.STREAM_STREAM, pb.TunnelChunk, pb.TunnelChunk
            ),
        }

    async def connect(self, stream: Stream[Any, Any]) -> None:
        """Carry bytes both ways until both directions have ended, or the caller is gone."""
        first = await stream.recv_message()
        if first is None or not 1 <= first.port <= 65535:
            raise GuestError("invalid_argument", "the first message of a tunnel must be its port")
        reader, writer = await _open(first.port)
        await stream.send_message(pb.TunnelChunk())
        answers = asyncio.get_running_loop().create_task(self._send_answers(reader, stream))
        try:
            async for chunk in stream:
                self._activity()
                writer.write(chunk.data)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()
            await answers
        except ConnectionError:
            await stream.send_message(pb.TunnelChunk(end=True))
        finally:
            answers.cancel()
            writer.close()

    async def _send_answers(self, reader: asyncio.StreamReader, stream: Stream[Any, Any]) -> None:
        while data := await reader.read(OUTPUT_CHUNK_BYTES):
            self._activity()
            await stream.send_message(pb.TunnelChunk(data=data))
        await stream.send_message(pb.TunnelChunk(end=True))


async def _open(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a server in the box, whichever of its addresses it listens on."""
    for address in _ADDRESSES:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, port, limit=OUTPUT_CHUNK_BYTES)
    raise GuestError("not_found", f"nothing in the box listens on port {port}", errno=errno.ECONNREFUSED)
