"""A command in a box."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from boxlite.streams import Input, Output
from engine.errors import BoxliteError, InvalidStateError
from engine.model import ExitStatus, TerminalSize

if TYPE_CHECKING:
    from engine.portal.execution import Execution as Command
    from engine.runtime.link import BoxLink


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """How a command ended. `exit_code` is minus the signal number where a signal ended it; `stdout` and `stderr` are
    given where the output was collected, else empty; `error_message` says why it could not be run, if so."""

    exit_code: int
    signal: int | None = None
    timed_out: bool = False
    oom_killed: bool = False
    error_message: str | None = None
    stdout: str = ""
    stderr: str = ""

    @property
    def success(self) -> bool:
        """Did it end with status 0?"""
        return self.exit_code == 0


def exec_result(status: ExitStatus, *, stdout: str = "", stderr: str = "") -> ExecResult:
    return ExecResult(
        exit_code=-status.signal if status.signal else status.exit_code,
        signal=status.signal or None,
        timed_out=status.timed_out,
        oom_killed=status.oom_killed,
        error_message=status.error or None,
        stdout=stdout,
        stderr=stderr,
    )


class Execution:
    """A command that runs. Its outputs are taken in from the first byte on, whether they are read or not; `wait` alone
    is enough to see it end. Cancelling `wait` leaves the command alone; leaving `async with execution:` kills it.
    """

    def __init__(
        self,
        link: BoxLink,
        command: Command,
        *,
        has_stdin: bool,
    ) -> None:
        self._link = link
        self._command = command
        self._has_stdin = has_stdin
        self._input = Input(command)
        self._stdout = Output(tty=command.tty)
        self._stderr = Output(tty=command.tty)
        self._filling = [
            asyncio.create_task(self._stdout._fill(command.stdout)),
            asyncio.create_task(self._stderr._fill(command.stderr)),
        ]
        self._ending: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """Its id, as `boxlite top` shows it."""
        return self._command.id

    def stdin(self) -> Input:
        """Raises InvalidStateError when it was started without."""
        if not self._has_stdin:
            raise InvalidStateError("it was started without stdin", operation="stdin")
        return self._input

    def stdout(self) -> Output:
        """Its output; with a terminal, all of it. Each call gives the same stream."""
        self._stdout.taken = True
        return self._stdout

    def stderr(self) -> Output:
        """Its standard error; nothing with a terminal. Each call gives the same stream."""
        self._stderr.taken = True
        return self._stderr

    async def wait(self) -> ExecResult:
        """How it ended, once it has. Raises RpcTransportError when its machine ends first."""
        try:
            status = await self._command.wait()
        except BoxliteError as error:
            raise await self._link.explain(error, "wait") from error
        return exec_result(status)

    async def collect(self) -> ExecResult:
        """The same with all its output, as text."""
        stdout, stderr, result = await asyncio.gather(self.stdout().read(), self.stderr().read(), self.wait())
        return ExecResult(
            exit_code=result.exit_code,
            signal=result.signal,
            timed_out=result.timed_out,
            oom_killed=result.oom_killed,
            error_message=result.error_message,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    async def signal(self, signum: int) -> None:
        """Send a signal to its process. One that has ended is left in peace."""
        await self._told(self._command.signal(signum), "signal")

    async def kill(self) -> None:
        """SIGKILL to all its processes, also those that left its process group. One that has ended is left in peace."""
        await self._told(self._command.kill(), "kill")

    async def resize_tty(self, rows: int, cols: int) -> None:
        """Tell its terminal the size. Raises InvalidStateError when it has none."""
        if not self._command.tty:
            raise InvalidStateError(
                "it has no terminal",
                hint="start it with tty=True",
                box=self._link.record.name,
                operation="resize",
            )
        await self._told(self._command.resize(TerminalSize(rows=rows, cols=cols)), "resize")

    def _tell_when_ended(self, on_end: Callable[[ExecResult], None]) -> None:
        self._ending = asyncio.create_task(self._tell_end(on_end))

    async def _tell_end(self, on_end: Callable[[ExecResult], None]) -> None:
        with contextlib.suppress(BoxliteError):  # its machine is gone: that is told of the box
            on_end(exec_result(await self._command.wait()))

    async def _told(self, call: Awaitable[None], operation: str) -> None:
        try:
            await call
        except BoxliteError as error:
            raise await self._link.explain(error, operation) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._command.has_ended:
            with contextlib.suppress(BoxliteError):  # its machine is gone, and it with it
                await asyncio.shield(self._command.kill())
                if self._ending is not None:
                    await asyncio.shield(self._ending)
        await self.close()

    async def close(self) -> None:
        """Stop following it; it goes on by itself."""
        followers = [*self._filling, *([] if self._ending is None else [self._ending])]
        if self._command.has_ended:  # let it be told
            await asyncio.sleep(0)
        for task in followers:
            task.cancel()
        await self._command.close()
        await asyncio.gather(*followers, return_exceptions=True)
