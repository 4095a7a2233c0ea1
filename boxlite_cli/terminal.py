"""The terminal in front of the user: its size, its raw mode, and the keys that leave a box alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator

from engine.model import TerminalSize


def is_terminal(fd: int) -> bool:
    return os.isatty(fd)


def terminal_size(*fds: int) -> TerminalSize | None:
    """Size of the first of `fds` (default: stdin, stdout, stderr) that is a terminal; None without one."""
    for fd in fds or (0, 1, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(fd)
            if size.lines and size.columns:
                return TerminalSize(rows=size.lines, cols=size.columns)
    return None


@contextlib.contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Hand every key to the box as it is typed, Ctrl-C included, until the end of the context.

    The terminal is put back whatever happens, and put into raw mode again after the process was stopped from
    outside and continued, for the shell has reset it in between. To be used in a running event loop, which is woken by
    the signal whichever thread the kernel gives it to.
    """
    before = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCONT, tty.setraw, fd, termios.TCSANOW)
    try:
        tty.setraw(fd, termios.TCSADRAIN)
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


class DetachKeys:
    """Finds the keys that detach in what is typed, even when they arrive in pieces.

    A key that may begin the sequence is held back until the next one tells.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the keys were typed (what comes after them is dropped)."""
        if not self._keys:
            return typed, False
        text = self._held + typed
        found = text.find(self._keys)
        if found >= 0:
            self._held = b""
            return text[:found], True
        kept = self._overlap(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False

    def _overlap(self, text: bytes) -> int:
        """How many bytes at the end of `text` begin the sequence."""
        for length in range(min(len(self._keys) - 1, len(text)), 0, -1):
            if text.endswith(self._keys[:length]):
                return length
        return 0
