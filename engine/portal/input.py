"""What a command in a box is given to read."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from engine.errors import PortalError
from engine.portal.failures import translated
from engine.portal.lanes import Lane, open_lane
from guest.wire import portal_pb2 as wire
from guest.wire.constants import LANE_WORTH_BYTES, OUTPUT_CHUNK_BYTES

if TYPE_CHECKING:
    from engine.portal.session import GuestSession


class _End(enum.Enum):
    CLOSE = enum.auto()
    LEAVE = enum.auto()


class InputSender:
    """Sends one command's input in one call, from the first byte written on; `task` is that call's. Much of it goes over
    a lane. The command's input stays open when the call ends without having said more."""

    def __init__(self, session: GuestSession, execution_id: str) -> None:
        self._session = session
        self._execution_id = execution_id
        self._queue: asyncio.Queue[bytes | _End] = asyncio.Queue(1)
        self._over = False
        self.task: asyncio.Task[None] | None = None

    async def write(self, data: bytes) -> None:
        """Waits while the command does not read. Raises BrokenPipeError when it will not read any more."""
        task = self._started()
        for start in range(0, len(data), OUTPUT_CHUNK_BYTES):
            await self._offer(task, data[start : start + OUTPUT_CHUNK_BYTES])

    async def close(self) -> None:
        """The command reads end of file after what was written. Idempotent."""
        await self._finish(_End.CLOSE)

    async def leave(self, *, timeout_s: float) -> None:
        """Wait until the command has been given all that was written, but no longer than this; its input stays open."""
        if self.task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._finish(_End.LEAVE)
                    await asyncio.wait((self.task,))

    async def _finish(self, end: _End) -> None:
        task = self._started()
        if not (self._over or task.done()):
            self._over = True
            with contextlib.suppress(BrokenPipeError):
                await self._offer(task, end)

    def _started(self) -> asyncio.Task[None]:
        if self.task is None:
            self.task = asyncio.create_task(self._send())
        return self.task

    async def _offer(self, task: asyncio.Task[None], item: bytes | _End) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            if not task.done():
                self._queue.put_nowait(item)
                return
        put = asyncio.create_task(self._queue.put(item))
        try:
            await asyncio.wait((put, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()
        if task.done():
            raise BrokenPipeError("the command does not read its input any more")

    async def _send(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            with contextlib.suppress(PortalError), translated("write stdin"):
                await self._session.send_input(self._messages(stack))

    async def _messages(self, stack: contextlib.AsyncExitStack) -> AsyncIterator[wire.Input]:
        yield wire.Input(execution_id=self._execution_id)
        sent = 0
        lane: Lane | None = None
        while not isinstance(item := await self._queue.get(), _End):
            if lane is None:
                yield wire.Input(data=item)
            elif not await lane.send(item):
                return  # the call knows why
            before, sent = sent, sent + len(item)
            if before < LANE_WORTH_BYTES <= sent and (lane := await self._lane(stack)) is not None:
                yield wire.Input(lane=lane.ticket)
        if lane is not None:
            await lane.end()
        if item is _End.CLOSE:
            yield wire.Input(close_at_end=True)

    async def _lane(self, stack: contextlib.AsyncExitStack) -> Lane | None:
        with contextlib.suppress(PortalError):  # then messages do
            return await stack.enter_async_context(open_lane(self._session.sockets_dir))
        return None
