"""Hold a process of this host as `boxlite run` holds one of a box: `hold_local.py [-t] [-i] [-k KEYS] PROGRAM…`.

The test programs of `session` and `terminal`; everything but the process behind it is the real thing.
"""

from __future__ import annotations

import asyncio
import os
import pty
import sys
import threading
from collections.abc import AsyncIterator

from boxlite_cli import failures
from boxlite_cli.parsers import parse_detach_keys
from boxlite_cli.session import Holding, hold, run_async
from engine.model import ExitStatus, TerminalSize


class LocalProcess:
    """A process of this host behind the interface of a command in a box."""

    def __init__(self, process: asyncio.subprocess.Process, master: int | None) -> None:
        self._process = process
        self._master = master
        self.stdout = self._chunks(process.stdout) if master is None else self._screen(master)
        self.stderr = self._chunks(process.stderr)

    async def _chunks(self, stream: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
        while stream is not None and (chunk := await stream.read(65536)):
            yield chunk

    async def _screen(self, master: int) -> AsyncIterator[bytes]:
        """A pty's master reports the end as an error; a thread reads it because it must not become non-blocking."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[bytes] = asyncio.Queue()

        def read() -> None:
            chunk = b"-"
            while chunk:
                try:
                    chunk = os.read(master, 65536)
                except OSError:
                    chunk = b""
                loop.call_soon_threadsafe(queue.put_nowait, chunk)

        threading.Thread(target=read, daemon=True).start()
        while chunk := await queue.get():
            yield chunk

    async def write_stdin(self, data: bytes) -> None:
        if self._master is not None:
            os.write(self._master, data)
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise BrokenPipeError from error

    async def close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def leave_stdin(self) -> None:
        """Nothing waits on its way."""

    async def wait(self) -> ExitStatus:
        code = await self._process.wait()
        return ExitStatus(exit_code=code if code >= 0 else 128 - code, signal=max(0, -code))

    async def signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    async def resize(self, size: TerminalSize) -> None:
        import fcntl
        import struct
        import termios

        assert self._master is not None
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.cols, 0, 0))


async def main(how: Holding, argv: list[str]) -> int:
    pipe = asyncio.subprocess.PIPE
    master = None
    if how.tty:
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            "setsid", "-c", *argv, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
    else:
        stdin = pipe if how.stdin else asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=stdin, stdout=pipe, stderr=pipe, start_new_session=True
        )
    try:
        status = await hold(LocalProcess(process, master), how)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    if status is None:
        print("detached", file=sys.stderr)
        return 0
    return status.exit_code


if __name__ == "__main__":
    words = sys.argv[1:]
    flags: list[str] = []
    while words and words[0].startswith("-"):
        flags.append(words.pop(0))
        if flags[-1] == "-k":
            flags.append(words.pop(0))
    keys = parse_detach_keys(flags[flags.index("-k") + 1] if "-k" in flags else "ctrl-p,ctrl-q")
    holding = Holding(tty="-t" in flags, stdin="-i" in flags, detach_keys=keys)
    try:
        code = run_async(main(holding, words))
    except (BrokenPipeError, KeyboardInterrupt, failures.TerminatedBySignal) as ended:
        code = failures.status_of(ended)
    sys.exit(code)
