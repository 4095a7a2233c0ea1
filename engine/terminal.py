"""The terminal in front of the user: its size and its raw mode."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
import threading
import tty
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.model import TerminalSize


def is_terminal(fd: int) -> bool:
    return os.isatty(fd)


def terminal_size(*fds: int) -> TerminalSize | None:
    """Size of the first of `fds` (default: stdin, stdout, stderr) that is a terminal; None without one."""
    for fd in fds or (0, 1, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(fd)
            if size.lines and size.columns:
                from engine.model import TerminalSize

                return TerminalSize(rows=size.lines, cols=size.columns)
    return None


def hears_signals() -> bool:
    """Can an event loop of this thread be told of signals? Only the main thread's (asyncio's add_signal_handler)."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Hand every key to the box as it is typed, Ctrl-C included, until the end of the context.

    The terminal is put back whatever happens, and put into raw mode again after the process was stopped from
    outside and continued, for the shell has reset it in between. To be used in a running event loop, which is woken by
    the signal whichever thread the kernel gives it to; one that is not in the main thread cannot be, and does not notice.
    """
    before = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()
    if hears_signals():
        loop.add_signal_handler(signal.SIGCONT, tty.setraw, fd, termios.TCSANOW)
    try:
        tty.setraw(fd, termios.TCSADRAIN)
        yield
    finally:
        if hears_signals():
            loop.remove_signal_handler(signal.SIGCONT)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
