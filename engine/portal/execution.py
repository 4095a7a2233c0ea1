"""A command in a box, as its caller sees it: two byte streams out, one in, an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from engine.errors import InvalidStateError, PortalError, RpcTransportError
from engine.model import ExitStatus, TerminalSize
from engine.portal.failures import translated
from engine.shown import printable
from guest.wire import portal_pb2 as wire
from guest.wire.constants import OUTPUT_CHUNK_BYTES

if TYPE_CHECKING:
    from engine.portal.session import GuestSession

QUEUED_CHUNKS = 8
STDOUT, STDERR = wire.Output.STDOUT, wire.Output.STDERR


class OutputStream(AsyncIterator[bytes]):
    """One output stream: an async iterator of bytes. They come in order and without gaps; when some are missing at the
    end, iterating raises PortalError instead of ending quietly."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
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
        self._execution.attach()
        chunk = await self._chunks.get()
        if isinstance(chunk, bytes):
            return chunk
        self._over = True
        raise StopAsyncIteration if chunk is None else chunk

    async def put(self, message: wire.Output) -> None:
        """Take in a part of the stream. Raises PortalError for one that is out of its place."""
        if self.ended:
            raise PortalError("the agent sent output after its end", operation="exec")
        if message.end:
            self.ended = True
            lost = message.offset - self.received_bytes
            await self.finish(
                PortalError(f"{lost} bytes of output were lost", operation="exec") if lost else None
            )
            return
        if self._begun and message.offset != self.received_bytes:
            lost = message.offset - self.received_bytes
            raise PortalError(f"{lost} bytes of output were lost", operation="exec")
        self._begun = True
        self.received_bytes = message.offset + len(message.data)
        if self.wanted and message.data:
            await self._chunks.put(message.data)

    async def finish(self, error: BaseException | None) -> None:
        if self.wanted:
            await self._chunks.put(error)


class Execution:
    """A running command. `stdout` and `stderr` may each be iterated once; with a terminal everything is on stdout.

    Nothing is read from the box before one of them is iterated or `attach` is called: until then the agent keeps the
    last 256 KiB of each stream. A reader that is slow holds the command back.
    """

    def __init__(
        self,
        session: GuestSession,
        execution_id: str,
        *,
        tty: bool = False,
        recorded_end: Callable[[], Awaitable[ExitStatus | None]] | None = None,
    ) -> None:
        self._session = session
        self.id = execution_id
        self.tty = tty
        self.stdout = OutputStream(self)
        self.stderr = OutputStream(self)
        self.released = False
        self._recorded_end = recorded_end
        self._reader: asyncio.Task[None] | None = None
        self._status: asyncio.Future[ExitStatus | None] = asyncio.get_running_loop().create_future()
        self._waiter: asyncio.Task[ExitStatus] | None = None
        self._input: asyncio.Queue[bytes | None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._input_ended: BaseException | None = None

    def attach(self, *, keep: bool = False) -> None:
        """Begin to read the outputs. Idempotent. With `keep` both streams wait for whoever iterates them; otherwise what
        arrives of a stream nobody iterates is dropped."""
        if keep:
            self.stdout.wanted = self.stderr.wanted = True
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        request = wire.AttachRequest(execution_id=self.id)
        try:
            with translated("attach"):
                async for message in self._session.attach(request):
                    if self._status.done():
                        raise PortalError("the agent sent more after the end", operation="attach")
                    if message.HasField("status"):
                        self._status.set_result(exit_status(message.status))
                        continue
                    await self._stream(message.stream).put(message)
            if not (self.stdout.ended and self.stderr.ended):
                raise PortalError("the output ended early", operation="attach")
        except Exception as error:
            for stream in (self.stdout, self.stderr):
                if not stream.ended:
                    stream.ended = True
                    await stream.finish(error)  # for whoever reads
        finally:
            if not self._status.done():
                self._status.set_result(None)

    def _stream(self, number: int) -> OutputStream:
        if number not in (STDOUT, STDERR):
            raise PortalError(f"the agent sent output of stream {number}", operation="attach")
        return self.stdout if number == STDOUT else self.stderr

    @property
    def has_ended(self) -> bool:
        """Has the exit status arrived?"""
        return self._waiter is not None and self._waiter.done()

    def expect_end(self) -> None:
        """Ask for the exit status now, so that it is here when it is wanted. Idempotent."""
        if self._waiter is None:
            self._waiter = asyncio.create_task(self._wait())

    async def _wait(self) -> ExitStatus:
        if self._reader is not None:
            status = await self._status  # comes with the output; asking for it too would cost a call
            if status is not None:
                return status
        try:
            with translated("wait"):
                reply = await self._session.wait(wire.WaitRequest(execution_id=self.id))
        except RpcTransportError:
            # The machine may be gone because the command ended: then its end is on record.
            ending = None if self._recorded_end is None else await self._recorded_end()
            if ending is None:
                raise
            return ending
        return exit_status(reply.status)

    async def wait(self) -> ExitStatus:
        """How the command ended, once it has. Raises RpcTransportError when the machine dies first."""
        self.expect_end()
        assert self._waiter is not None
        return await asyncio.shield(self._waiter)

    async def write_stdin(self, data: bytes) -> None:
        """Send bytes; waits while the command does not read. Raises BrokenPipeError when it will not read any more."""
        if self._input is None:
            self._input = asyncio.Queue(1)
            self._sender = asyncio.create_task(self._send(self._input))
        for start in range(0, len(data), OUTPUT_CHUNK_BYTES):
            await self._offer(self._input, data[start : start + OUTPUT_CHUNK_BYTES])

    async def close_stdin(self) -> None:
        """The command reads end of file after what was written. Idempotent."""
        if self._input is None:
            await self.write_stdin(b"")
            self._input = self._input or asyncio.Queue(1)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(self._input))
        if not self._sender.done():
            with contextlib.suppress(BrokenPipeError):
                await self._offer(self._input, None)

    async def _offer(self, queue: asyncio.Queue[bytes | None], item: bytes | None) -> None:
        assert self._sender is not None
        put = asyncio.create_task(queue.put(item))
        await asyncio.wait((put, self._sender), return_when=asyncio.FIRST_COMPLETED)
        if not put.done():
            put.cancel()
            raise BrokenPipeError("the command does not read its input any more")

    async def _send(self, queue: asyncio.Queue[bytes | None]) -> None:
        async def messages() -> AsyncIterator[wire.Input]:
            yield wire.Input(execution_id=self.id, close_at_end=True)
            while (data := await queue.get()) is not None:
                yield wire.Input(data=data)

        with contextlib.suppress(PortalError), translated("write stdin"):
            await self._session.send_input(messages())

    async def signal(self, signum: int) -> None:
        """Send a signal to the command's process. One that has ended is left in peace."""
        with translated("signal"):
            await self._session.kill(wire.KillRequest(execution_id=self.id, signal=signum))

    async def kill(self) -> None:
        """SIGKILL to every process of this execution, also those that left its process group."""
        with translated("kill"):
            await self._session.kill(wire.KillRequest(execution_id=self.id, signal=9, all=True))

    async def resize(self, size: TerminalSize) -> None:
        """Tell the terminal its size. Raises InvalidStateError when the execution has none."""
        if not self.tty:
            raise InvalidStateError("it has no terminal", operation="resize")
        with translated("resize"):
            await self._session.resize(
                wire.ResizeRequest(
                    execution_id=self.id, size=wire.TerminalSize(rows=size.rows, cols=size.cols)
                )
            )

    async def release(self) -> None:
        """Let it go on without us: leaving its context neither kills it nor ends its box."""
        self.released = True

    async def close(self) -> None:
        """Stop following it; the command itself goes on."""
        tasks = [task for task in (self._reader, self._waiter, self._sender) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def exit_status(status: wire.ExitStatus) -> ExitStatus:
    """The agent's word for it, checked: a guest that lies gets an exit code of 255."""
    code = status.exit_code if 0 <= status.exit_code <= 255 else 255
    return ExitStatus(
        exit_code=code,
        signal=status.signal if 0 <= status.signal <= 64 else 0,
        timed_out=status.timed_out,
        oom_killed=status.oom_killed,
        error=printable(status.error),
    )
