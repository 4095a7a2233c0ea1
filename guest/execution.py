"""An execution: the main command or one that `exec` added, with its streams, its input and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from guest.cgroups import Cgroup
from guest.errors import GuestError
from guest.pipes import OutputSource, Pipes, set_terminal_size
from guest.reaper import exit_code_and_signal
from guest.streams import OutputStream
from guest.wire.constants import DRAIN_S

STDOUT, STDERR = 0, 1
_HOLD_S = 10.0
"""How long output is held for a client that said it would attach."""

_WRITE_PARTS = 64
_EXIT_CODES = {"command_not_found": 127, "command_not_executable": 126}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an execution ended. `exit_code` is 128 + `signal` where a signal ended it; `error` says why it never ran."""

    exit_code: int
    signal: int = 0
    timed_out: bool = False
    oom_killed: bool = False
    error: str = ""


class Execution:
    """One command in the container. Made before its process, so that clients can attach first and miss nothing."""

    def __init__(
        self,
        execution_id: str,
        argv: tuple[str, ...],
        *,
        tty: bool,
        stdin: bool,
        cgroup: Cgroup,
        held: bool = False,
        background: bool = False,
        on_output: Callable[[int, bytes], bool] | None = None,
    ) -> None:
        """`background`: the host's own doing, no sign that somebody uses the box. `on_output(stream, data)` sees all
        output too; while it returns False the writer is held back until `resume` is called."""
        self.id = execution_id
        self.argv = argv
        self.tty = tty
        self.wants_stdin = stdin
        self.cgroup = cgroup
        self._has_cgroup = True
        self.background = background
        self.outputs = (OutputStream(held=held), OutputStream(held=held))
        self.pid = 0
        self.started_ns = 0
        self._clients: set[asyncio.Event] = set()
        self._nobody_attached = asyncio.Event()
        self._nobody_attached.set()
        self.ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.timed_out = False
        self.killed = False
        """Also one that is only being started: its process may not be in the cgroup yet."""
        self._on_output = on_output
        self.on_streams_ended: Callable[[], None] | None = None
        """Called once, when its pipes have ended."""
        self._sources: dict[int, OutputSource] = {}
        self._stdin: int | None = None
        self._stdin_closed = False
        self._stdin_lock = asyncio.Lock()
        self._started_at = time.monotonic()
        self._ended_at = 0.0
        if held:
            asyncio.get_running_loop().call_later(_HOLD_S, self.release)

    @property
    def running(self) -> bool:
        return not self.ending.done()

    @property
    def attached(self) -> int:
        """How many clients read the output now."""
        return len(self._clients)

    def join(self, woken: asyncio.Event) -> None:
        """Count a client until it leaves; `woken` is set when the command has ended."""
        self._clients.add(woken)
        self._nobody_attached.clear()

    def leave(self, woken: asyncio.Event) -> None:
        self._clients.discard(woken)
        if not self._clients:
            self._nobody_attached.set()

    @property
    def duration_ms(self) -> int:
        return int(((self._ended_at or time.monotonic()) - self._started_at) * 1000)

    # ------------------------------------------------------------ streams

    def use_pipes(self, pipes: Pipes) -> None:
        """Take the agent's ends for input and output. They are read once the command runs: what crun itself has to say
        about one that cannot be run comes as an error, not as output."""
        self._stdin, out, err = pipes.ours
        if self._stdin is None:
            self._stdin_closed = True
        else:
            os.set_blocking(self._stdin, False)
        self._read_from(STDOUT, out)
        self._read_from(STDERR, err)

    def use_terminal(self, master: int) -> None:
        """Take the master end of the container's terminal for input and output."""
        os.set_blocking(master, False)
        self._stdin = os.dup(master)
        self.outputs[STDERR].finish()
        self._read_from(STDOUT, master)
        self.resume()

    def _read_from(self, stream: int, fd: int) -> None:
        self._sources[stream] = OutputSource(
            self.outputs[stream], fd, lambda data: self._deliver(stream, data), self._stream_ended
        )

    def _stream_ended(self) -> None:
        """Streams mostly end because the command does: what comes with it is looked for at once. Each turn of the loop costs."""
        for source in self._sources.values():
            source.look()
        if self.on_streams_ended is not None and all(source.done for source in self._sources.values()):
            look, self.on_streams_ended = self.on_streams_ended, None
            look()

    def _deliver(self, stream: int, data: bytes) -> bool:
        return self._on_output is None or self._on_output(stream + 1, data)

    def resume(self) -> None:
        """Go on reading after `on_output` had held it back."""
        for source in self._sources.values():
            source.resume()

    def release(self) -> None:
        for output in self.outputs:
            output.release()

    # ------------------------------------------------------------ input

    async def write(self, *parts: bytes | memoryview) -> None:
        """Give `parts` to the command's stdin, waiting for it to read. Raises GuestError when it reads no more."""
        async with self._stdin_lock:
            left = deque(memoryview(part) for part in parts if part)
            while left:
                if self._stdin is None or self._stdin_closed:
                    raise _broken_pipe(self.id)
                try:
                    written = os.writev(self._stdin, list(itertools.islice(left, _WRITE_PARTS)))
                except BlockingIOError:
                    await self._writable(self._stdin)
                except OSError as error:
                    self._drop_stdin()
                    raise _broken_pipe(self.id) from error
                else:
                    _drop_written(left, written)

    async def close_stdin(self) -> None:
        """Half-close: the command reads the end of its input. A terminal gets its end-of-file character."""
        async with self._stdin_lock:
            if self.tty and self._stdin is not None:
                with contextlib.suppress(OSError):
                    os.write(self._stdin, b"\x04")
            else:
                self._drop_stdin()

    async def _writable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def now_ready() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_writer(fd, now_ready)
        try:
            await asyncio.wait((ready, self.ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_writer(fd)
        if not ready.done():
            raise _broken_pipe(self.id)

    def _drop_stdin(self) -> None:
        self._stdin_closed = True
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def resize(self, rows: int, cols: int) -> None:
        if not self.tty:
            raise GuestError("invalid_argument", f"execution {self.id} has no terminal")
        if self._stdin is not None:
            set_terminal_size(self._stdin, rows, cols)

    # ------------------------------------------------------------ life

    def started(self, pid: int) -> None:
        self.pid = pid
        self.started_ns = time.time_ns()
        self._started_at = time.monotonic()
        self.resume()

    def signal(self, signum: int, *, everyone: bool) -> None:
        """Signal the command, or every process of the execution. Nothing happens when it has ended."""
        if everyone:
            if not self._has_cgroup:
                return
            if signum == 9:
                self.killed = True
                self.cgroup.kill()
            else:
                for pid in self.cgroup.processes():
                    _signal(pid, signum)
        elif self.running and self.pid:
            _signal(self.pid, signum)

    def ended(self, ending: Ending) -> None:
        """Record the end, and let the streams run dry for at most DRAIN_S."""
        if self.ending.done():
            return
        self._ended_at = time.monotonic()
        self.ending.set_result(ending)
        for woken in self._clients:
            woken.set()
        self._drop_stdin()
        if any(not source.done for source in self._sources.values()):
            asyncio.get_running_loop().call_later(DRAIN_S, self.finish_streams)
        else:
            self.finish_streams()

    def part_from_cgroup(self) -> None:
        """Its group is another's from now on."""
        self._has_cgroup = False

    def never_ran(self, error: GuestError) -> None:
        """Record that the command could not be run."""
        for source in self._sources.values():
            source.close()
        exit_code = _EXIT_CODES.get(error.code, 125)
        self.ended(Ending(exit_code=exit_code, error=error.message))

    def ended_with(self, status: int, *, oom_killed: bool = False) -> None:
        """Record the end from a wait status."""
        code, signum = exit_code_and_signal(status)
        self.ended(Ending(exit_code=code, signal=signum, timed_out=self.timed_out, oom_killed=oom_killed))

    def finish_streams(self) -> None:
        """End the streams for their readers. Processes that still hold a pipe may go on writing, to nobody."""
        for source in self._sources.values():
            source.abandon()
        for output in self.outputs:
            output.finish()

    async def drained(self) -> None:
        """Wait until both streams have ended and every attached client has read them."""
        for output in self.outputs:
            await output.finished.wait()
        await self._nobody_attached.wait()


def _signal(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def _drop_written(parts: deque[memoryview], size: int) -> None:
    while parts and size >= len(parts[0]):
        size -= len(parts.popleft())
    if size:
        parts[0] = parts[0][size:]


def _broken_pipe(execution_id: str) -> GuestError:
    return GuestError("broken_pipe", f"execution {execution_id} reads no more input", errno=errno.EPIPE)
