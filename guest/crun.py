"""crun, the container runtime: the only module that knows its command line and its messages.

crun leaves cgroups alone (`--cgroup-manager=disabled`): it is started in the execution's own, so that not one process of
it is ever outside. It always detaches: the container's processes become children of process 1, which learns their real
wait status.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from guest.errors import GuestError
from guest.reaper import Reaper
from guest.sessions import Execution

_CRUN = "/usr/bin/crun"
_CONSOLE_TIMEOUT_S = 10.0
_LOG_BYTES = 16 * 1024

CONTAINER_ID = "box"


class Crun:
    """Runs the box's one container and what is executed in it. `work_dir` is private to the agent."""

    def __init__(self, reaper: Reaper, work_dir: Path, *, state_dir: Path = Path("/run/crun")) -> None:
        self._reaper = reaper
        self._work = work_dir
        self._global = (_CRUN, "--cgroup-manager=disabled", f"--root={state_dir}")

    async def run(self, config: dict[str, Any], execution: Execution) -> int:
        """Make the container of `config` and run its command. Return the command's process id. Raises GuestError."""
        bundle = self._write_bundle(config)
        return await self._start(("run", "--detach", f"--bundle={bundle}"), (CONTAINER_ID,), execution)

    async def create(self, config: dict[str, Any], execution: Execution) -> int:
        """Make the container, but do not run its command; return the id of the process that waits in it."""
        bundle = self._write_bundle(config)
        return await self._start(("create", f"--bundle={bundle}"), (CONTAINER_ID,), execution)

    async def execute(self, process: dict[str, Any], execution: Execution) -> int:
        """Run another process in the container; return its id. Raises GuestError."""
        path = self._work / f"{execution.cgroup.path.name}.process.json"
        path.write_text(json.dumps(process))
        try:
            return await self._start(("exec", "--detach", f"--process={path}"), (CONTAINER_ID,), execution)
        finally:
            path.unlink()

    def _write_bundle(self, config: dict[str, Any]) -> Path:
        bundle = self._work / "bundle"
        bundle.mkdir(exist_ok=True)
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    async def _start(self, verb: tuple[str, ...], target: tuple[str, ...], execution: Execution) -> int:
        name = execution.cgroup.path.name
        log, pid_file = self._work / f"{name}.log", self._work / f"{name}.pid"
        console = _Console(self._work / f"{name}.console") if execution.tty else None
        pipes = None if execution.tty else execution.open_pipes()
        console_option = (f"--console-socket={console.path}",) if console else ()
        argv = (
            *self._global, f"--log={log}", "--log-format=json", *verb, f"--pid-file={pid_file}", *console_option, *target,
        )  # fmt: skip
        try:
            if pipes is not None:
                _, status = self._reaper.spawn(
                    argv, cgroup=execution.cgroup, stdin=pipes.stdin, stdout=pipes.stdout, stderr=pipes.stderr
                )
            else:
                _, status = self._reaper.spawn(argv, cgroup=execution.cgroup)
        finally:
            if pipes is not None:
                pipes.close()
        try:
            if console is not None:
                await self._take_terminal(console, status, execution)
            if await status != 0:
                raise _failure(log, execution)
            return int(pid_file.read_text())
        finally:
            if console is not None:
                console.close()
            for path in (log, pid_file):
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
