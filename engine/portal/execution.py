"""A command in a box, as its caller sees it: two byte streams out, one in, an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING

from engine.errors import BoxliteError, DeadlineError, InvalidStateError, PortalError, RpcTransportError
from engine.model import ExitStatus, TerminalSize
from engine.portal.failures import translated
from engine.portal.input import InputSender
from engine.portal.output import Follow, OutputStream, read_outputs
from engine.shown import printable
from guest.wire import portal_pb2 as wire

if TYPE_CHECKING:
    from engine.portal.session import GuestSession

LEAVE_TIMEOUT_S = 1.0
BEGIN_DEADLINE_S = 60.0
"""For the agent to say that a command runs."""


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
        stdin: bool = False,
        recorded_end: Callable[[], Awaitable[ExitStatus | None]] | None = None,
    ) -> None:
        self._session = session
        self.id = execution_id
        self.tty = tty
        self.takes_input = stdin
        self.stdout = OutputStream(self.attach)
        self.stderr = OutputStream(self.attach)
        self.released = False
        self._recorded_end = recorded_end
        self._reader: asyncio.Task[None] | None = None
        self._status: asyncio.Future[ExitStatus | None] = asyncio.get_running_loop().create_future()
        self._waiter: asyncio.Task[ExitStatus] | None = None
        self._input = InputSender(session, execution_id)

    def attach(self, *, keep: bool = False) -> None:
        """Begin to read the outputs. Idempotent. With `keep` both streams wait for whoever iterates them; otherwise what
        arrives of a stream nobody iterates is dropped."""
        if keep:
            self.stdout.wanted = self.stderr.wanted = True
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(self._attached))

    async def begin(self, command: wire.ExecRequest) -> None:
        """Run the command; both streams keep what it prints, from the first byte on, for whoever iterates them.

        Raises what the agent refuses: NotFoundError for a command, directory or user the box has not, …
        """
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stdout.wanted = self.stderr.wanted = True
        self._reader = asyncio.create_task(self._read(lambda ticket: self._run(command, ticket, begun)))
        try:
            async with asyncio.timeout(BEGIN_DEADLINE_S):
                await begun
        except TimeoutError:
            raise DeadlineError("the machine's agent did not answer in time", operation="exec") from None

    def _attached(self, ticket: bytes) -> AsyncGenerator[wire.Output, None]:
        outputs: AsyncGenerator[wire.Output, None] = self._session.attach(
            wire.AttachRequest(execution_id=self.id, lane=ticket)
        )
        return outputs

    async def _run(
        self, command: wire.ExecRequest, ticket: bytes, begun: asyncio.Future[None]
    ) -> AsyncGenerator[wire.Output, None]:
        def has_begun() -> None:
            if not begun.done():
                begun.set_result(None)

        try:
            with translated("exec"):
                request = wire.RunRequest(command=command, lane=ticket)
                async with contextlib.aclosing(self._session.run(request, begun=has_begun)) as messages:
                    async for message in messages:
                        yield message
            if not begun.done():
                raise PortalError("the agent did not say that the command runs", operation="exec")
        except BoxliteError as error:
            if begun.done():
                raise
            begun.set_exception(error)

    async def _read(self, follow: Follow) -> None:
        try:
            status = await read_outputs(follow, self._session.sockets_dir, self.stdout, self.stderr)
            if not self._status.done() and status is not None:
                self._status.set_result(exit_status(status))
        finally:
            if not self._status.done():
                self._status.set_result(None)

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
        await self._input.write(data)

    async def close_stdin(self) -> None:
        """The command reads end of file after what was written. Idempotent."""
        await self._input.close()

    async def leave_stdin(self) -> None:
        """Before one goes away: what was written is the command's, unless it does not read for a second; its input stays
        open."""
        await self._input.leave(timeout_s=LEAVE_TIMEOUT_S)

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
        tasks = [task for task in (self._reader, self._waiter, self._input.task) if task is not None]
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
