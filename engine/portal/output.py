"""What a command in a box writes, read for its caller: in messages, and over a lane once it is much."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

from engine.errors import PortalError, RpcTransportError
from engine.portal.failures import translated
from engine.portal.lanes import Lane, new_ticket, open_lane
from guest.wire import portal_pb2 as wire
from guest.wire.constants import LANE_WORTH_BYTES

QUEUED_CHUNKS = 8
_ON_LANE = {1: wire.Output.STDOUT, 2: wire.Output.STDERR}
STDOUT, STDERR = wire.Output.STDOUT, wire.Output.STDERR


class OutputStream(AsyncIterator[bytes]):
    """One output stream: an async iterator of bytes. They come in order and without gaps; when some are missing at the
    end, iterating raises PortalError instead of ending quietly. `attach` is called when somebody first reads."""

    def __init__(self, attach: Callable[[], None]) -> None:
        self._attach = attach
        self._chunks: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(QUEUED_CHUNKS)
        self._over = False
        self._begun = False
        self.received_bytes = 0
        self.wanted = False
        self.ended = False

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        self.wanted = True
        self._attach()
        chunk = await self._chunks.get()
        if isinstance(chunk, bytes):
            return chunk
        self._over = True
        raise StopAsyncIteration if chunk is None else chunk

    async def take(self, message: wire.Output) -> None:
        """Take in a message. Raises PortalError for one that is out of its place."""
        if self.ended:
            raise PortalError("the agent sent output after its end", operation="exec")
        if message.end:
            self.ended = True
            lost = message.offset - self.received_bytes
            await self.finish(_lost(lost) if lost else None)
            return
        if self._begun and message.offset != self.received_bytes:
            raise _lost(message.offset - self.received_bytes)
        self.received_bytes = message.offset
        await self.put(message.data)

    async def put(self, data: bytes) -> None:
        """Take in what comes next."""
        self._begun = True
        self.received_bytes += len(data)
        if self.wanted and data:
            await self._chunks.put(data)

    async def finish(self, error: BaseException | None) -> None:
        if self.wanted:
            await self._chunks.put(error)


def _lost(size: int) -> PortalError:
    return PortalError(f"{size} bytes of output were lost", operation="exec")


Follow = Callable[[bytes], AsyncGenerator[wire.Output, None]]
"""The call that sends outputs, given the ticket of a lane they may go over."""


async def read_outputs(
    follow: Follow, sockets_dir: Path, stdout: OutputStream, stderr: OutputStream
) -> wire.ExitStatus | None:
    """Read both outputs to their ends; how the command ended, if the box said so. What goes wrong is raised by the
    streams that it hits."""
    reading = _Reading(follow, sockets_dir, stdout, stderr)
    try:
        async with contextlib.AsyncExitStack() as stack:
            await reading.read(stack)
    except Exception as error:
        for stream in (stdout, stderr):
            if not stream.ended:
                stream.ended = True
                await stream.finish(error)
    return reading.status


class _Reading:
    def __init__(self, follow: Follow, sockets_dir: Path, stdout: OutputStream, stderr: OutputStream) -> None:
        self._follow = follow
        self._sockets_dir = sockets_dir
        self._streams = {STDOUT: stdout, STDERR: stderr}
        self._ticket = new_ticket()
        self._opening: asyncio.Task[Lane | None] | None = None
        self.status: wire.ExitStatus | None = None

    async def read(self, stack: contextlib.AsyncExitStack) -> None:
        with translated("attach"):
            outputs = await stack.enter_async_context(contextlib.aclosing(self._follow(self._ticket)))
            async for message in outputs:
                if self.status is not None:
                    raise PortalError("the agent sent more after the end", operation="attach")
                if message.HasField("status"):
                    self.status = message.status
                    for end in message.ends:
                        await self._stream(end.stream).take(wire.Output(end=True, offset=end.offset))
                elif message.on_lane:
                    await self._read_lane()
                else:
                    await self._stream(message.stream).take(message)
                    self._maybe_open_lane(stack)
        if not all(stream.ended for stream in self._streams.values()):
            raise PortalError("the output ended early", operation="attach")

    def _stream(self, number: int) -> OutputStream:
        """Raises PortalError for a stream there is none of: an enumeration on the wire holds any number."""
        if number not in (STDOUT, STDERR):
            raise PortalError(f"the agent sent output of stream {number}", operation="attach")
        return self._streams[STDOUT if number == STDOUT else STDERR]

    def _maybe_open_lane(self, stack: contextlib.AsyncExitStack) -> None:
        if self._opening is None and sum(s.received_bytes for s in self._streams.values()) > LANE_WORTH_BYTES:
            self._opening = asyncio.create_task(self._open_lane(stack))
            stack.callback(self._opening.cancel)

    async def _open_lane(self, stack: contextlib.AsyncExitStack) -> Lane | None:
        with contextlib.suppress(PortalError):  # then messages do
            return await stack.enter_async_context(open_lane(self._sockets_dir, self._ticket))
        return None

    async def _read_lane(self) -> None:
        """Everything up to the ends of the streams, which messages then tell again with their lengths."""
        lane = None if self._opening is None else await self._opening
        if lane is None:
            raise PortalError("the machine speaks of a lane that nobody opened", operation="attach")
        left = {number for number, stream in self._streams.items() if not stream.ended}
        async for place, data in lane.receive():
            number = _ON_LANE[place]
            if number not in left:
                raise PortalError("the agent sent output after its end", operation="attach")
            if data:
                await self._streams[number].put(data)
            else:
                left.discard(number)
            if not left:
                return
        raise RpcTransportError("the connection to the machine was lost", operation="attach")
