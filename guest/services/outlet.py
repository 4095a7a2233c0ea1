"""The way of an execution's output to one attached client: in messages, and over a lane once the client has opened one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from grpclib.server import Stream

from guest.execution import Ending
from guest.lanes import Lane
from guest.services.requests import exit_status
from guest.streams import Chunk, Reader
from guest.wire import portal_pb2 as pb

_TOGETHER_S = 0.02
_STREAMS = (pb.Output.STDOUT, pb.Output.STDERR)


class Outlet:
    """`find_lane` gives the client's lane once it is open; `ending` is done when the command has ended."""

    def __init__(
        self, stream: Stream[Any, Any], find_lane: Callable[[], Lane | None], ending: asyncio.Future[Ending]
    ) -> None:
        self._stream = stream
        self._find_lane = find_lane
        self._ending = ending
        self._ends: list[pb.Output.End] = []
        self._lane: Lane | None = None
        # A message that does not fit into the window is sent in parts: another must not come between them.
        self._turn = asyncio.Lock()

    async def forward(self, number: int, reader: Reader) -> None:
        """Send output stream `number` to its end, at the client's speed."""
        while True:
            chunk = await reader.next()
            if chunk.end and self._lane is None and await self._ends_now():
                self._ends.append(pb.Output.End(stream=_STREAMS[number], offset=chunk.offset))
                return
            async with self._turn:
                await self._send(number, chunk)
            reader.consumed(chunk)
            if chunk.end:
                return

    async def _ends_now(self) -> bool:
        """A stream usually ends because its command does: one message then tells both."""
        if not self._ending.done():
            await asyncio.wait((self._ending,), timeout=_TOGETHER_S)
        return self._ending.done()

    async def finish(self) -> None:
        """After both streams: how the command ended."""
        ending = await asyncio.shield(self._ending)
        await self._stream.send_message(pb.Output(status=exit_status(ending), ends=self._ends))

    async def _send(self, number: int, chunk: Chunk) -> None:
        if (
            self._lane is None and not self._ends
        ):  # a client on a lane expects all ends there that it was not told
            self._lane = self._find_lane()
            if self._lane is not None:
                await self._stream.send_message(pb.Output(on_lane=True))
        if self._lane is not None:
            await self._lane.send(number + 1, chunk.data)  # no data: the end
            if not chunk.end:
                return
        await self._stream.send_message(
            pb.Output(stream=_STREAMS[number], offset=chunk.offset, data=chunk.data, end=chunk.end)
        )

    def close(self) -> None:
        if self._lane is not None:
            self._lane.release()
