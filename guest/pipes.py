"""The ends of a command's streams: pipes made for it, and moving what it writes at the speed of its readers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass

from guest.streams import OutputStream
from guest.wire.constants import OUTPUT_CHUNK_BYTES

_STDIN_PIPE_BYTES = 1024 * 1024
_OUTPUT_PIPE_BYTES = 256 * 1024
_LITTLE_BYTES = 16 * 1024
_GATHER_S = 0.001
"""After a little output the next is read that much later: a program that writes a line at a time, on one processor with us,
then writes many for each time we look."""


@dataclass(slots=True)
class Pipes:
    """The streams of an execution without a terminal. `stdin`, `stdout` and `stderr` are the container's ends, handed to
    crun and closed afterwards; `ours` are the agent's."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    ours: tuple[int | None, int, int] = (None, -1, -1)

    @classmethod
    def open(cls, *, stdin: bool) -> Pipes:
        reading, writing = _wide_pipe(_STDIN_PIPE_BYTES) if stdin else (None, None)
        out_ours, out_theirs = _wide_pipe(_OUTPUT_PIPE_BYTES)
        err_ours, err_theirs = _wide_pipe(_OUTPUT_PIPE_BYTES)
        return cls(stdin=reading, stdout=out_theirs, stderr=err_theirs, ours=(writing, out_ours, err_ours))

    def close(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd is not None:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = None

    def give_to(self, uid: int, gid: int) -> None:
        """Let this user open them again, as /dev/stdout and its like."""
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd is not None and (uid or gid):
                os.fchown(fd, uid, gid)


class OutputSource:
    """Moves bytes from a pipe or terminal into an OutputStream, at the speed of its readers."""

    def __init__(
        self, output: OutputStream, fd: int, deliver: Callable[[bytes], bool], on_end: Callable[[], None]
    ) -> None:
        os.set_blocking(fd, False)
        self._on_end = on_end
        self._output = output
        self._fd = fd
        self._deliver = deliver
        self._reading = False
        self._abandoned = False
        self.done = False

    def resume(self) -> None:
        if not self._reading and not self.done:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._fd)

    def abandon(self) -> None:
        """Read on only so that writers are not stopped; keep nothing."""
        self._abandoned = True
        self.resume()

    def look(self) -> None:
        """Read what is there, without having been told that something is."""
        if self._reading and not self.done:
            self._readable()

    def _readable(self) -> None:
        room = OUTPUT_CHUNK_BYTES if self._abandoned else min(self._output.room(), OUTPUT_CHUNK_BYTES)
        if room == 0:
            self._pause()
            self._output.when_room(self.resume)
            return
        data = self._read(room)
        if data is None:
            return
        if not data:
            self._finish()
        elif not self._abandoned:
            self._output.append(data)
            if not self._deliver(data):
                self._pause()
            elif len(data) < _LITTLE_BYTES and not self._finish_if_ended():
                self._pause()
                asyncio.get_running_loop().call_later(_GATHER_S, self.resume)

    def _read(self, wanted: int) -> bytes | None:
        """At most so many bytes; empty at the end, None while there are none."""
        try:
            return os.read(self._fd, wanted)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the last process has closed the terminal
                raise
            return b""

    def _finish_if_ended(self) -> bool:
        """What wrote little has often written all. Nobody has it open any more, and nothing is left in it (poll(2))."""
        looking = select.poll()
        looking.register(self._fd, select.POLLIN)
        if looking.poll(0) != [(self._fd, select.POLLHUP)]:
            return False
        self._finish()
        return True

    def _finish(self) -> None:
        self.close()
        self._output.finish()
        self._on_end()

    def close(self) -> None:
        if not self.done:
            self._pause()
            self.done = True
            os.close(self._fd)


def _wide_pipe(size_bytes: int) -> tuple[int, int]:
    """A pipe with room for whole messages: each switch between its ends costs. As (end to read, end to write)."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, size_bytes)
    return reading, writing


def set_terminal_size(fd: int, rows: int, cols: int) -> None:
    """Set the size of a terminal; its foreground processes get SIGWINCH."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", min(rows, 0xFFFF), min(cols, 0xFFFF), 0, 0))
