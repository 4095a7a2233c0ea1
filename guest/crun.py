"""crun, the container runtime: the only module that knows its command line and its messages.

crun leaves cgroups alone (`--cgroup-manager=disabled`): it is started in the execution's own, so that not one process of
it is ever outside. It always detaches: the container's processes become children of process 1, which learns their real
wait status.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guest.cgroups import Cgroup
from guest.errors import GuestError
from guest.execution import Execution
from guest.parked import feed, make_parking_place, wait_until_parked
from guest.pipes import Pipes
from guest.reaper import Reaper

_CRUN = "/usr/bin/crun"
_CONSOLE_TIMEOUT_S = 10.0
_LOG_BYTES = 16 * 1024
_DISCARD_S = 1.0

CONTAINER_ID = "box"


class Crun:
    """Runs the box's one container and what is executed in it. `work_dir` is private to the agent."""

    def __init__(self, reaper: Reaper, work_dir: Path, *, state_dir: Path = Path("/run/crun")) -> None:
        self._reaper = reaper
        self._work = work_dir
        self._global = (_CRUN, "--cgroup-manager=disabled", f"--root={state_dir}")
        self._parked: dict[bool, _Started] = {}

    def park(self, cgroup: Cgroup) -> None:
        """Start the cruns that will run the container: one for a command with stdin, one for a command without. Blocks
        until they wait."""
        for stdin in (False, True):
            bundle = self._work / f"bundle-{int(stdin)}"
            bundle.mkdir(exist_ok=True)
            make_parking_place(bundle / "config.json")
            pipes = Pipes.open(stdin=stdin)
            started = self._spawn(f"parked-{int(stdin)}", _run_verb(bundle), cgroup, pipes)
            pipes.close()
            if wait_until_parked(started.pid):
                self._parked[stdin] = started
            else:
                started.kill()

    async def run(self, config: dict[str, Any], execution: Execution, *, alone: bool) -> int:
        """Make the container of `config` and run its command. Return the command's process id. A crun that still waits is
        ended first if the command is to be `alone` in its cgroup, else in a moment: it costs what a start would notice.
        Raises GuestError."""
        started = self._take_parked(config, execution)
        if started is None or alone:
            self._discard_parked()
        else:
            asyncio.get_running_loop().call_later(_DISCARD_S, self._discard_parked)
        if started is None:
            bundle = self._write_bundle(config)
            return await self._begin(_run_verb(bundle), execution)
        return await self._finish(started, execution)

    async def create(self, config: dict[str, Any], execution: Execution) -> int:
        """Make the container, but do not run its command; return the id of the process that waits in it."""
        self._discard_parked()
        bundle = self._write_bundle(config)
        return await self._begin(("create", f"--bundle={bundle}"), execution)

    async def execute(self, process: dict[str, Any], execution: Execution, pipes: Pipes | None = None) -> int:
        """Run another process in the container, with a terminal unless it has `pipes`, whose ends of the container stay
        open; return its id. Raises GuestError."""
        path = self._work / f"{execution.cgroup.path.name}.process.json"
        path.write_text(json.dumps(process))
        try:
            return await self._start(("exec", "--detach", f"--process={path}"), execution, pipes)
        finally:
            path.unlink()

    def _take_parked(self, config: dict[str, Any], execution: Execution) -> _Started | None:
        """The crun that waits for such an execution, given its configuration."""
        started = None if execution.tty else self._parked.pop(execution.wants_stdin, None)
        if started is None or started.pipes is None:
            return None
        if not feed(
            self._work / f"bundle-{int(execution.wants_stdin)}" / "config.json", json.dumps(config).encode()
        ):
            started.kill()
            return None
        execution.use_pipes(started.pipes)
        return started

    def _discard_parked(self) -> None:
        while self._parked:
            self._parked.popitem()[1].kill()

    def _write_bundle(self, config: dict[str, Any]) -> Path:
        bundle = self._work / "bundle"
        bundle.mkdir(exist_ok=True)
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    async def _begin(self, verb: tuple[str, ...], execution: Execution) -> int:
        """Start with streams made here."""
        if execution.tty:
            return await self._start(verb, execution, None)
        pipes = Pipes.open(stdin=execution.wants_stdin)
        execution.use_pipes(pipes)
        try:
            return await self._start(verb, execution, pipes)
        finally:
            pipes.close()

    async def _start(self, verb: tuple[str, ...], execution: Execution, pipes: Pipes | None) -> int:
        name = execution.cgroup.path.name
        if pipes is not None:
            return await self._finish(self._spawn(name, verb, execution.cgroup, pipes), execution)
        console = _Console(self._work / f"{name}.console")
        try:
            started = self._spawn(name, (*verb, f"--console-socket={console.path}"), execution.cgroup, None)
            await self._take_terminal(console, started.status, execution)
            return await self._finish(started, execution)
        finally:
            console.close()

    def _spawn(self, name: str, verb: tuple[str, ...], cgroup: Cgroup, pipes: Pipes | None) -> _Started:
        log, pid_file = self._work / f"{name}.log", self._work / f"{name}.pid"
        argv = (
            *self._global, f"--log={log}", "--log-format=json", *verb, f"--pid-file={pid_file}", CONTAINER_ID,
        )  # fmt: skip
        ends = pipes or Pipes()
        pid, status = self._reaper.spawn(
            argv, cgroup=cgroup, stdin=ends.stdin, stdout=ends.stdout, stderr=ends.stderr
        )
        return _Started(pid=pid, status=status, log=log, pid_file=pid_file, pipes=pipes)

    async def _finish(self, started: _Started, execution: Execution) -> int:
        try:
            if await started.status != 0:
                raise _failure(started.log, execution)
            return int(started.pid_file.read_text())
        finally:
            for path in (started.log, started.pid_file):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()

    async def _take_terminal(
        self, console: _Console, status: asyncio.Future[int], execution: Execution
    ) -> None:
        """Wait for the terminal, or for crun's end if that comes first."""
        receiving = asyncio.ensure_future(console.receive())
        try:
            await asyncio.wait(
                (receiving, status), timeout=_CONSOLE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not receiving.done() and status.done() and status.result() == 0:
                await asyncio.wait((receiving,), timeout=_CONSOLE_TIMEOUT_S)
            if receiving.done():
                execution.use_terminal(receiving.result())
        finally:
            receiving.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A crun on its way. `pipes` None: the execution has a terminal."""

    pid: int
    status: asyncio.Future[int]
    log: Path
    pid_file: Path
    pipes: Pipes | None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        for fd in self.pipes.ours if self.pipes else ():
            if fd is not None:
                os.close(fd)


def _run_verb(bundle: Path) -> tuple[str, ...]:
    return ("run", "--detach", f"--bundle={bundle}")


class _Console:
    """The socket over which crun hands out the master end of a terminal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self._socket.listen(1)

    async def receive(self) -> int:
        connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        with connection:
            connection.setblocking(True)
            connection.settimeout(_CONSOLE_TIMEOUT_S)
            _, fds, _, _ = socket.recv_fds(connection, 1024, 1)
        return fds[0]

    def close(self) -> None:
        self._socket.close()
        self.path.unlink()


def _failure(log: Path, execution: Execution) -> GuestError:
    try:
        text = log.read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace")
    except FileNotFoundError:
        text = ""
    messages = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            messages.append(str(json.loads(line).get("msg", "")))
    return explain_failure(messages, execution.argv[0] if execution.argv else "")


_NOT_EXECUTABLE = (
    ("is not a regular file", "it is not a file"),
    ("is not executable", "permission denied"),
    ("permission denied", "permission denied"),
    ("exec format error", "it is no program for this machine"),
    ("text file busy", "it is being written"),
)


def explain_failure(messages: list[str], command: str) -> GuestError:
    """What crun's messages mean for the caller: the command is missing (127), cannot be run (126), or something else."""
    text = "; ".join(message for message in messages if message) or "crun gave no reason"
    lower = text.lower()
    about_command = "exec" in lower or f"`{command}`".lower() in lower
    if about_command:
        for sign, reason in _NOT_EXECUTABLE:
            if sign in lower:
                return GuestError(
                    "command_not_executable", f'the command "{command}" cannot be run: {reason}'
                )
        if "no such file or directory" in lower:
            return GuestError(
                "command_not_found",
                f'the command "{command}" is not in the box',
                hint="check its spelling, PATH, and that the image has it",
            )
    return GuestError("execution_failed", f'running "{command}" failed: {text}')
