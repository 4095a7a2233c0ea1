"""Lanes: ports that carry bulk bytes of one call at a time, in frames (see guest.wire.constants).

A client opens a lane with a ticket and names that in a call; the call takes the lane and gives it back at its end. What a
client sends is left in the port until somebody takes it: that holds the client back.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator, Iterator

from guest.errors import GuestError
from guest.ports import GATHER_BYTES, GATHER_S, Port, Preamble
from guest.wire.constants import LANE_HEADER, LANE_MAGIC, NONCE_BYTES, REPLY_MAGIC, TICKET_BYTES
from guest.wire.frames import FrameError, FrameParser

_HIGH_WATER = 1024 * 1024
_LOW_WATER = 256 * 1024
_TICKET_WAIT_S = 10.0


class Lane(Port):
    """One of the ports. It looks for a client's hello, unless a client has opened it."""

    def __init__(self, fd: int, lanes: Lanes) -> None:
        super().__init__(fd)
        self._lanes = lanes
        self._preamble = Preamble(LANE_MAGIC, NONCE_BYTES + TICKET_BYTES)
        self._ticket = b""
        self._is_lent = False
        self._gone = False
        self._changed = asyncio.Event()

    def on_event(self, events: int) -> None:
        if events & select.EPOLLHUP:
            self._gone = True
            self.discard()
            if self._ticket and self._lanes.forget(self._ticket):
                self._ticket = b""
        if not self._is_lent:
            super().on_event(events)
        self._changed.set()
        if not self._ticket:
            self._look_for_hello()

    def _look_for_hello(self) -> None:
        while received := self.read():
            found = self._preamble.feed(received)
            if found is None:
                continue
            hello, rest = found
            if rest:  # a client says no more before our answer: this one is gone
                self._preamble.feed(rest)
                continue
            self._gone = False
            self._ticket = hello[NONCE_BYTES:]
            self.discard()
            self.write(REPLY_MAGIC + hello[:NONCE_BYTES])
            self._lanes.opened(self._ticket, self)
            return

    def release(self) -> None:
        """The call that took the lane is over."""
        self._ticket = b""
        self._gone = False
        self.discard()
        self._preamble.clear()
        self._look_for_hello()

    @contextlib.contextmanager
    def lent(self) -> Iterator[int]:
        """The port's descriptor, for another process that reads or writes it meanwhile."""
        self._is_lent = True
        try:
            yield self.fd
        finally:
            self._is_lent = False

    def on_flushed(self) -> None:
        if self.queued_bytes <= _LOW_WATER:
            self._changed.set()

    async def send(self, stream: int, data: bytes) -> None:
        """Send data of a stream; none is its end. Waits while the client does not take it. Raises GuestError when the
        client is gone."""
        self.write(LANE_HEADER.pack(stream, len(data)))
        if data:
            self.write(data)
        while self.queued_bytes > _HIGH_WATER:
            await self._change()

    async def receive(self) -> AsyncIterator[list[memoryview]]:
        """The parts of stream 1 up to its end, as many at once as have arrived. Raises GuestError when the client goes away before."""
        parser = FrameParser()
        while True:
            self._changed.clear()
            received = self.read()
            if received is None:
                await self._change()
            elif not received:
                raise _lost()
            else:
                try:
                    parts = [part for _, part in parser.feed(memoryview(received))]
                except FrameError as error:
                    raise GuestError("invalid_argument", f"not a frame: {error}") from error
                ended = not parts[-1] if parts else False
                yield [part for part in parts if part]
                if ended:
                    return
                if len(received) < GATHER_BYTES:
                    await asyncio.sleep(GATHER_S)

    async def _change(self) -> None:
        if self._gone:
            raise _lost()
        await self._changed.wait()
        self._changed.clear()


class Lanes:
    """The lanes that clients have opened and nobody has taken yet, by ticket."""

    def __init__(self) -> None:
        self._opened: dict[bytes, Lane] = {}
        self._awaited: dict[bytes, asyncio.Future[None]] = {}

    def opened(self, ticket: bytes, lane: Lane) -> None:
        self._opened[ticket] = lane
        awaited = self._awaited.get(ticket)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)

    def forget(self, ticket: bytes) -> bool:
        """Drop an opened lane; False when it is taken."""
        return self._opened.pop(ticket, None) is not None

    def find(self, ticket: bytes) -> Lane | None:
        """Take the lane with this ticket if it is open already."""
        return self._opened.pop(ticket, None)

    @contextlib.asynccontextmanager
    async def taken(self, ticket: bytes) -> AsyncIterator[Lane]:
        """The lane with this ticket, which may be on its way, for as long as the context lasts. Raises GuestError."""
        lane = self.find(ticket) or await self._wait_for(ticket)
        try:
            yield lane
        finally:
            lane.release()

    async def _wait_for(self, ticket: bytes) -> Lane:
        awaited = self._awaited[ticket] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(awaited, _TICKET_WAIT_S)
        except TimeoutError:
            raise GuestError("not_found", "the lane that was promised was never opened") from None
        finally:
            del self._awaited[ticket]
        lane = self.find(ticket)
        if lane is None:
            raise _lost()
        return lane


def _lost() -> GuestError:
    return GuestError("broken_pipe", "the client closed its lane")
