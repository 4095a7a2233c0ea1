"""A box with a shell in a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from boxlite.simplebox import MoreOptions, SimpleBox
from engine.errors import BoxliteError, InvalidStateError

if TYPE_CHECKING:
    from boxlite.execution import ExecResult, Execution
    from boxlite.runtime import Boxlite


ROWS, COLUMNS = 24, 80
"""Of a terminal that is in the hands of a program."""
_SIZE_INTERVAL_S = 0.5


class InteractiveBox(SimpleBox):
    """A shell with a terminal of its own, in a box that lasts as long as its context:
    `async with InteractiveBox("alpine:3.20") as box: await box.wait()`.

    `tty` True: the shell is in the hands of whoever sits at this program's terminal, until it ends. False: the program
    types and reads, through `shell`. None: True where standard input and output are a terminal.
    """

    def __init__(
        self,
        image: str | None = None,
        shell: str = "/bin/sh",
        tty: bool | None = None,
        memory_mib: int | None = None,
        cpus: int | None = None,
        runtime: Boxlite | None = None,
        name: str | None = None,
        auto_remove: bool = True,
        reuse_existing: bool = False,
        rootfs_path: str | Path | None = None,
        **options: Unpack[MoreOptions],
    ) -> None:
        super().__init__(
            image or (None if rootfs_path is not None else "alpine:latest"),
            memory_mib, cpus, runtime, name, auto_remove, reuse_existing, rootfs_path, **options,
        )  # fmt: skip
        self._shell_path = shell
        self._tty = tty
        self._shell: Execution | None = None
        self._forwarding: asyncio.Task[None] | None = None

    @property
    def shell(self) -> Execution:
        """The shell: `await box.shell.stdin().send_input("ls\\n")`. Raises InvalidStateError before it is started."""
        if self._shell is None:
            raise InvalidStateError("the shell was not started", hint="use `async with`, or start() first")
        return self._shell

    async def start(self) -> Self:
        """Have the box and its shell running. Idempotent."""
        await super().start()
        if self._shell is None:
            self._shell = await self.box.exec(self._shell_path, tty=True)
            if _at_terminal() if self._tty is None else self._tty:
                self._forwarding = asyncio.create_task(_forward(self._shell))
            else:
                await self._shell.resize_tty(ROWS, COLUMNS)
        return self

    async def wait(self) -> ExecResult:
        """How the shell ended, once it has and all it wrote is shown."""
        if self._forwarding is not None:
            await asyncio.shield(self._forwarding)
        return await self.shell.wait()

    async def stop(self) -> None:
        """End shell and box. Idempotent."""
        shell, self._shell = self._shell, None
        forwarding, self._forwarding = self._forwarding, None
        if forwarding is not None:
            forwarding.cancel()
            await asyncio.gather(forwarding, return_exceptions=True)
        if shell is not None:
            await shell.__aexit__(None, None, None)
        await super().stop()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._forwarding is not None:
            await self.wait()
        await self.stop()


def _at_terminal() -> bool:
    from engine.terminal import is_terminal

    return is_terminal(0) and is_terminal(1)


async def _forward(shell: Execution) -> None:
    """Be the shell's keyboard and screen until it has ended."""
    from engine.stdio import copy_to_fd
    from engine.terminal import is_terminal, raw_mode

    with contextlib.ExitStack() as stack:
        if is_terminal(0):
            stack.enter_context(raw_mode(0))
            stack.enter_context(_following_size(shell))
        typing = asyncio.create_task(_type(shell))
        try:
            await copy_to_fd(shell.stdout().chunks(), 1)
        finally:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)


async def _type(shell: Execution) -> None:
    from engine.stdio import read_chunks

    stdin = shell.stdin()
    with contextlib.suppress(BrokenPipeError):  # the shell has ended
        async for chunk in read_chunks(0):
            await stdin.send_input(chunk)
        await stdin.close()


@contextlib.contextmanager
def _following_size(shell: Execution) -> Iterator[None]:
    """Give the shell's terminal the size of ours, now and whenever it changes."""
    from engine.terminal import hears_signals, terminal_size

    loop = asyncio.get_running_loop()
    telling: set[asyncio.Task[None]] = set()

    async def tell(rows: int, cols: int) -> None:
        with contextlib.suppress(BoxliteError):  # a shell that has just ended needs no size
            await shell.resize_tty(rows, cols)

    def follow() -> None:
        size = terminal_size()
        if size is not None:
            task = loop.create_task(tell(size.rows, size.cols))
            telling.add(task)
            task.add_done_callback(telling.discard)

    async def look_again() -> None:
        while True:
            await asyncio.sleep(_SIZE_INTERVAL_S)
            follow()

    follow()
    if hears_signals():
        loop.add_signal_handler(signal.SIGWINCH, follow)
    else:
        telling.add(loop.create_task(look_again()))
    try:
        yield
    finally:
        if hears_signals():
            loop.remove_signal_handler(signal.SIGWINCH)
        for task in tuple(telling):
            task.cancel()
