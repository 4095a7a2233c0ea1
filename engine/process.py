"""The only module that starts processes.

Commands are argument tuples, never a shell line; the environment starts from nothing; stdin is /dev/null; the tail of
stderr is kept for the error. A process is ended by SIGTERM, a grace, SIGKILL, and reaped. A process found again
later is matched by its id *and* its start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from engine.cappedfile import CappedFile
from engine.errors import BoxliteError, DeadlineError, UnsupportedError
from engine.values import dataclass

STDERR_TAIL_BYTES = 4096
LOG_CAP_BYTES = 1024 * 1024
LOG_READ_BYTES = 64 * 1024
SAFE_PATH = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/opt/homebrew/sbin"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start: `argv[0]` is a program's name or path; `env` is the whole environment;
    `pass_fds` are the descriptors it inherits besides stdin, stdout and stderr."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    pass_fds: tuple[int, ...] = ()

    def __str__(self) -> str:
        import shlex

        return shlex.join(self.argv)

    def wrapped(self, *prefix: str) -> Command:
        """The same command run by another program: `prefix` then our own argv."""
        return replace(self, argv=(*prefix, *self.argv))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    argv: tuple[str, ...]
    exit_status: int
    stdout: bytes
    stderr: bytes

    @property
    def stderr_tail(self) -> str:
        return self.stderr[-STDERR_TAIL_BYTES:].decode("utf-8", "replace").strip()


class ProcessFailedError(BoxliteError):
    """A program ended with a status that is not 0; `completed` has its output."""

    code = "process_failed"

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        name = Path(completed.argv[0]).name
        tail = completed.stderr_tail.splitlines()
        why = f": {tail[-1]}" if tail else ""
        super().__init__(f"{name} ended with status {completed.exit_status}{why}")


def find_program(name: str) -> str | None:
    """The absolute path of a program, or None. Looks in PATH, then in the usual places (sbin included)."""
    return shutil.which(name) or shutil.which(name, path=SAFE_PATH)


def get_program(name: str, *, hint: str | None = None) -> str:
    path = find_program(name)
    if path is None:
        raise UnsupportedError(
            f"the program {name} is not installed",
            hint=hint or "`boxlite system doctor` names every missing program and the package that has it",
        )
    return path


async def run(
    command: Command,
    *,
    stdin: bytes | int | None = None,
    timeout_s: float = 60.0,
    check: bool = True,
) -> Completed:
    """Run a command to its end and return its output. `stdin` is what it reads, or a descriptor to read from.

    Raises ProcessFailedError if it fails and `check`, DeadlineError after `timeout_s` (the process is then killed).
    """
    feed = stdin if isinstance(stdin, bytes) else None
    source = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
    argv = (get_program(command.argv[0]), *command.argv[1:])
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=stdin if isinstance(stdin, int) else source,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(command.env) or {"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8"},
        cwd=command.cwd,
        pass_fds=command.pass_fds,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(feed), timeout_s)
    except TimeoutError as error:
        raise DeadlineError(f"{argv[0]} did not end within {timeout_s:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    completed = Completed(argv=argv, exit_status=process.returncode or 0, stdout=stdout, stderr=stderr)
    if check and completed.exit_status != 0:
        raise ProcessFailedError(completed)
    return completed


async def start(command: Command, *, log_path: Path) -> asyncio.subprocess.Process:
    """Start a command that goes on beside us, in a session of its own; what it prints goes to `log_path`, within a cap: it
    may be a stranger's by now.

    Raises OSError when it cannot be started.
    """
    log = CappedFile(log_path, cap_bytes=LOG_CAP_BYTES)
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=dict(command.env) or {"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8"},
            cwd=command.cwd,
            pass_fds=command.pass_fds,
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        log.close()
        raise
    finally:
        os.close(writing)
    _keep_log(reading, log)
    return process


def _keep_log(reading: int, log: CappedFile) -> None:
    """Move what a process prints into its log, until it and all that it started have ended."""
    loop = asyncio.get_running_loop()
    os.set_blocking(reading, False)

    def printed() -> None:
        try:
            chunk = os.read(reading, LOG_READ_BYTES)
        except BlockingIOError:
            return
        if chunk:
            with contextlib.suppress(OSError):  # a full disk costs the log, not the process
                log.write(chunk)
            return
        loop.remove_reader(reading)
        os.close(reading)
        log.close()

    loop.add_reader(reading, printed)


class Child:
    """A process of ours that asyncio did not start, with the part of asyncio.subprocess.Process that its owner needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reaping: asyncio.Task[int] | None = None

    async def wait(self) -> int:
        """Reap it at its end; the exit status, -N when signal N ended it."""
        if self._reaping is None:
            self._reaping = asyncio.ensure_future(self._reap())
        return await asyncio.shield(self._reaping)

    async def _reap(self) -> int:
        await self._ended()
        _, status = os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222  it has ended
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def _ended(self) -> None:
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self.pid)
        ended = asyncio.Event()
        loop.add_reader(pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)


async def terminate(process: asyncio.subprocess.Process, *, grace_s: float = 2.0) -> int:
    """SIGTERM, wait, SIGKILL, reap. Returns the exit status."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode if process.returncode is not None else -1


def process_start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), stat field 22), or None if it is gone or
    a zombie. On systems without /proc: the start time in seconds as `ps` gives it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _ps_start(pid)
    except ProcessLookupError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def _ps_start(pid: int) -> int | None:
    import subprocess
    import time

    done = subprocess.run(
        ("ps", "-o", "lstart=", "-p", str(pid)),
        capture_output=True,
        text=True,
        env={"LC_ALL": "C", "PATH": SAFE_PATH},
    )
    text = done.stdout.strip()
    return int(time.mktime(time.strptime(text))) if text else None


def is_alive(pid: int | None, start_ticks: int | None) -> bool:
    """Is this very process (not a later one with its id) running?"""
    return pid is not None and start_ticks is not None and process_start_ticks(pid) == start_ticks


def kill_process(pid: int, start_ticks: int, signum: int = signal.SIGKILL) -> bool:
    """Signal a process found again; False when it is gone."""
    if process_start_ticks(pid) != start_ticks:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)
        return True
    return False


def signal_number(name: str) -> int:
    """`9`, `KILL`, `SIGKILL`, `sigkill` → 9. Raises ValueError."""
    if name.isdigit():
        return int(name)
    upper = name.upper()
    return int(signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"])


def as_argv(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(word) for word in words)
