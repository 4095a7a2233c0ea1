"""Holding a command of a box: its streams are ours, our signals and our terminal are its own, until it ends or the user
leaves it running.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from boxlite_cli import failures
from boxlite_cli.terminal import DetachKeys, is_terminal, raw_mode, terminal_size
from engine.errors import BoxliteError
from engine.stdio import copy_to_fd, read_chunks
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.model import ExitStatus, TerminalSize

FORWARDED_SIGNALS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
IMPATIENT_AFTER = 3
"""So many SIGINT or SIGTERM that the command in the box ignores, and we end it and ourselves."""

T = TypeVar("T")


class Command(Protocol):
    """The part of an engine's Execution that is needed here."""

    @property
    def stdout(self) -> AsyncIterator[bytes]: ...
    @property
    def stderr(self) -> AsyncIterator[bytes]: ...
    async def write_stdin(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def leave_stdin(self) -> None: ...
    async def wait(self) -> ExitStatus: ...
    async def signal(self, signum: int) -> None: ...
    async def resize(self, size: TerminalSize) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How a command is held. `tty`: it has a terminal; `stdin`: pass ours on; `detach_keys` empty: none detach."""

    tty: bool = False
    stdin: bool = False
    detach_keys: bytes = b""
    forward_signals: bool = True

    @property
    def is_raw(self) -> bool:
        return self.tty and self.stdin and is_terminal(0)


async def hold(command: Command, how: Holding) -> ExitStatus | None:
    """Pump until the command has ended and its output is written out; None when the user detached.

    Raises BrokenPipeError when nobody reads our output, TerminatedBySignal when a signal ends us in raw mode or the
    user lost patience with a command that ignores signals.
    """
    try:
        with contextlib.ExitStack() as stack:
            if how.is_raw:
                stack.enter_context(raw_mode(0))
            if how.tty:
                stack.enter_context(_follow_size(command))
            if how.forward_signals and not how.is_raw:
                stack.enter_context(_forward_signals(command))
            return await _pump(command, how)
    except BaseExceptionGroup as group:
        raise failures.sole_error(group) from None


def exit_code(status: ExitStatus) -> int:
    """What to exit with, having said why a command could not be run."""
    if status.error:
        failures.say(f"Error: {status.error}")
    elif status.timed_out:
        failures.say("Error: the command took longer than its timeout")
    return status.exit_code


async def _pump(command: Command, how: Holding) -> ExitStatus | None:
    async with asyncio.TaskGroup() as group:
        output = [
            group.create_task(copy_to_fd(command.stdout, 1)),
            group.create_task(copy_to_fd(command.stderr, 2)),
        ]
        ending = group.create_task(command.wait())
        typing = group.create_task(_feed(command, how)) if how.stdin else None
        waiting = {ending} if typing is None else {ending, typing}
        while not ending.done():
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if typing is not None and typing in done:
                waiting.discard(typing)
                if not ending.done() and typing.result():
                    for task in (*output, ending):
                        task.cancel()
                    return None
        await asyncio.gather(*output)
        if typing is not None:
            typing.cancel()
        return ending.result()


async def _feed(command: Command, how: Holding) -> bool:
    """Pass our input on until it ends or the command reads no more; True when the user typed the detach keys."""
    keys = DetachKeys(how.detach_keys if how.is_raw else b"")
    try:
        async for chunk in read_chunks(0):
            passed, detached = keys.feed(chunk)
            if passed:
                await command.write_stdin(passed)
            if detached:
                await command.leave_stdin()
                return True
        await command.close_stdin()
    except BrokenPipeError:
        return False
    return False


@contextlib.contextmanager
def _follow_size(command: Command) -> Iterator[None]:
    """Give the command's terminal the size of ours, now and whenever it changes."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def follow() -> None:
        size = terminal_size()
        if size is not None:
            _spawn(tasks, _while_it_runs(command.resize(size)))

    follow()
    loop.add_signal_handler(signal.SIGWINCH, follow)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        _cancel(tasks)


@contextlib.contextmanager
def _forward_signals(command: Command) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    holder = asyncio.current_task()
    urgent: list[signal.Signals] = []

    def forward(signum: signal.Signals) -> None:
        if signum in (signal.SIGINT, signal.SIGTERM):
            urgent.append(signum)
        if len(urgent) == IMPATIENT_AFTER and holder is not None:
            failures.say(f"the command did not end at {IMPATIENT_AFTER} signals; ending the box")
            holder.cancel()
        else:
            _spawn(tasks, _while_it_runs(command.signal(signum)))

    for signum in FORWARDED_SIGNALS:
        loop.add_signal_handler(signum, forward, signum)
    try:
        yield
    except asyncio.CancelledError:
        if len(urgent) < IMPATIENT_AFTER or holder is None:
            raise
        holder.uncancel()
        raise failures.TerminatedBySignal(urgent[-1]) from None
    finally:
        _cancel(tasks)
        for signum in FORWARDED_SIGNALS:
            loop.remove_signal_handler(signum)
        _end_on_signals()


async def _while_it_runs(request: Coroutine[Any, Any, None]) -> None:
    """A signal or size for a command that has just ended is not an error."""
    with contextlib.suppress(BoxliteError):
        await request


def _spawn(tasks: set[asyncio.Task[None]], request: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(request)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tuple(tasks):
        task.cancel()


_end: ContextVar[Callable[[signal.Signals], None] | None] = ContextVar("_end", default=None)
"""What a signal that asks us to end does, when it is not forwarded."""


def _end_on_signals() -> None:
    end = _end.get()
    if end is not None:
        for signum in ENDING_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(signum, end, signum)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine. SIGINT, SIGTERM and SIGHUP cancel it, so that it can clean up; then
    TerminatedBySignal is raised."""
    received: list[signal.Signals] = []

    async def guarded() -> T:
        task = asyncio.current_task()

        def end(signum: signal.Signals) -> None:
            received.append(signum)
            if task is not None:
                task.cancel()

        _end.set(end)
        _end_on_signals()
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if not received:
            raise
        raise failures.TerminatedBySignal(received[0]) from None
