"""Reaping: process 1 inherits every orphan of the machine, so one place collects all of them.

The statuses of processes nobody asked about yet are kept for a while: a container's process may end before crun has
told its id.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from guest.cgroups import Cgroup
from guest.spawn import spawn_in_cgroup

_UNCLAIMED_KEPT = 1024
_SOON_S = 0.02
_SIGNALS_BYTES = 1024
_SIGSET_BYTES = 128
"""Of glibc's sigset_t."""
_libc = ctypes.CDLL(None, use_errno=True)
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8")


class Reaper:
    """The only caller of waitpid and the only starter of processes."""

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._unclaimed: OrderedDict[int, int] = OrderedDict()

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """The signal is read from a descriptor (signalfd(2)): a handler takes several turns of the loop."""
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
        self._signals_fd = _signal_descriptor(signal.SIGCHLD)
        loop.add_reader(self._signals_fd, self._on_signal)

    def _on_signal(self) -> None:
        os.read(self._signals_fd, _SIGNALS_BYTES)
        self.reap()

    def reap(self) -> None:
        """Collect every process that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._waiting.pop(pid, None)
            if ended is not None:
                ended(status)
                continue
            self._unclaimed[pid] = status
            if len(self._unclaimed) > _UNCLAIMED_KEPT:
                self._unclaimed.popitem(last=False)

    def watch(self, pid: int) -> asyncio.Future[int]:
        """A future of the wait status (waitpid(2)) of a child, also of one that ended a moment ago."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def ended(status: int) -> None:
            if not future.done():
                future.set_result(status)

        self.when_ended(pid, ended)
        return future

    def when_ended(self, pid: int, ended: Callable[[int], None]) -> None:
        """The same, by a call: at once where it has ended, else before anything else learns of it."""
        status = self._unclaimed.pop(pid, None)
        if status is not None:
            ended(status)
        else:
            self._waiting[pid] = ended

    def spawn(
        self,
        argv: Sequence[str],
        *,
        cgroup: Cgroup,
        env: Sequence[str] = _ENVIRONMENT,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        keep: Sequence[int] = (),
        ends_soon: bool = False,
    ) -> tuple[int, asyncio.Future[int]]:
        """Start `argv` (an absolute path first) in a cgroup; a stream that is None is /dev/null, descriptors to `keep` are
        inherited too. Return its id and wait status. One that `ends_soon` is waited for here, for at most a moment: what the
        agent could do meanwhile costs more. Raises OSError."""
        cgroup_fd = cgroup.directory_fd
        opened = -1 if cgroup_fd is not None else os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            pid = spawn_in_cgroup(
                argv, env, cgroup_fd=opened if cgroup_fd is None else cgroup_fd,
                stdin=stdin, stdout=stdout, stderr=stderr, keep=keep,
            )  # fmt: skip
        finally:
            if opened >= 0:
                os.close(opened)
        self._unclaimed.pop(pid, None)
        status = self.watch(pid)
        if ends_soon:
            self._wait_briefly(status)
        return pid, status

    def _wait_briefly(self, status: asyncio.Future[int]) -> None:
        deadline = time.monotonic() + _SOON_S
        while not status.done() and (left_s := deadline - time.monotonic()) > 0:
            signal.sigtimedwait((signal.SIGCHLD,), left_s)
            self.reap()


def _signal_descriptor(signum: int) -> int:
    """A descriptor that can be read when the signal, which is blocked, has come."""
    signals = ctypes.create_string_buffer(_SIGSET_BYTES)
    _libc.sigemptyset(signals)
    _libc.sigaddset(signals, signum)
    fd = int(_libc.signalfd(-1, signals, os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "signalfd")
    return fd


def exit_code_and_signal(status: int) -> tuple[int, int]:
    """A wait status as (exit code, signal): 128 + N and N when signal N ended the process, else the code and 0."""
    if os.WIFSIGNALED(status):
        signum = os.WTERMSIG(status)
        return 128 + signum, signum
    return os.WEXITSTATUS(status), 0
