"""The way of an execution's output to one attached client: in messages, and over a lane once the client has opened one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from grpclib.server import Stream
from h2.exceptions import StreamClosedError

from guest.execution import Ending
from guest.http2 import together
from guest.lanes import Lane
from guest.services.requests import exit_status
from guest.streams import Chunk, Reader
from guest.wire import portal_pb2 as pb

_TOGETHER_S = 0.02
_STREAMS = (pb.Output.STDOUT, pb.Output.STDERR)


class Outlet:
    """`find_lane` gives the client's lane once it is open; `ending` is done when the command has ended, and `woken` set whenever
    it or a stream has changed. One task serves both streams: in an emulated machine each costs."""

    def __init__(
        self,
        stream: Stream[Any, Any],
        find_lane: Callable[[], Lane | None],
        ending: asyncio.Future[Ending],
        woken: asyncio.Event,
    ) -> None:
        self._stream = stream
        self._find_lane = find_lane
        self._ending = ending
        self._woken = woken
        self._ends: list[pb.Output.End] = []
        self._lane: Lane | None = None
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._alone: set[int] = set()

    async def forward(self, readers: Sequence[Reader]) -> None:
        """Send both streams to their ends, at the client's speed, then how the command ended."""
        left = dict(enumerate(readers))
        while left:
            self._woken.clear()
            took_something = False
            for number, reader in list(left.items()):
                chunk = reader.find_next()
                if chunk is None or (chunk.end and not self._ends_now(number)):
                    continue
                took_something = True
                if chunk.end:
                    del left[number]
                if chunk.end and self._lane is None and self._ending.done():
                    self._ends.append(pb.Output.End(stream=_STREAMS[number], offset=chunk.offset))
                else:
                    await self._send(number, chunk)
                    reader.consumed(chunk)
            if not took_something:
                await self._woken.wait()
        while not self._ending.done():
            self._woken.clear()
            await self._woken.wait()
        with together(self._stream):
            status = exit_status(self._ending.result())
            await self._stream.send_message(pb.Output(status=status, ends=self._ends))
            with contextlib.suppress(StreamClosedError):  # the client has gone
                await self._stream.send_trailing_metadata()

    def _ends_now(self, number: int) -> bool:
        """A stream usually ends because its command does: one message then tells both. It waits a little for that."""
        if self._ending.done() or number in self._alone:
            return True
        if number not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[number] = loop.call_later(_TOGETHER_S, self._end_alone, number)
        return False

    def _end_alone(self, number: int) -> None:
        self._alone.add(number)
        self._woken.set()

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
        for timer in self._timers.values():
            timer.cancel()
        if self._lane is not None:
            self._lane.release()
