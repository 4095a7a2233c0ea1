"""Reaping: process 1 inherits every orphan of the machine, so one place collects all of them.

The statuses of processes nobody asked about yet are kept for a while: a container's process may end before crun has
told its id.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Sequence

from guest.cgroups import Cgroup
from guest.spawn import spawn_in_cgroup

_UNCLAIMED_KEPT = 1024
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8")


class Reaper:
    """The only caller of waitpid and the only starter of processes."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._unclaimed: OrderedDict[int, int] = OrderedDict()

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def reap(self) -> None:
        """Collect every process that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            waiting = self._waiting.pop(pid, None)
            if waiting is not None:
                if not waiting.done():
                    waiting.set_result(status)
                continue
            self._unclaimed[pid] = status
            if len(self._unclaimed) > _UNCLAIMED_KEPT:
                self._unclaimed.popitem(last=False)

    def watch(self, pid: int) -> asyncio.Future[int]:
        """A future of the wait status (waitpid(2)) of a child, also of one that ended a moment ago."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        status = self._unclaimed.pop(pid, None)
        if status is not None:
            future.set_result(status)
        else:
            self._waiting[pid] = future
        return future

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
    ) -> tuple[int, asyncio.Future[int]]:
        """Start `argv` (an absolute path first) in a cgroup; a stream that is None is /dev/null, descriptors to `keep` are
        inherited too. Return its id and wait status. Raises OSError."""
        cgroup_fd = os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            pid = spawn_in_cgroup(
                argv, env, cgroup_fd=cgroup_fd, stdin=stdin, stdout=stdout, stderr=stderr, keep=keep
            )
        finally:
            os.close(cgroup_fd)
        self._unclaimed.pop(pid, None)
        return pid, self.watch(pid)


def exit_code_and_signal(status: int) -> tuple[int, int]:
    """A wait status as (exit code, signal): 128 + N and N when signal N ended the process, else the code and 0."""
    if os.WIFSIGNALED(status):
        signum = os.WTERMSIG(status)
        return 128 + signum, signum
    return os.WEXITSTATUS(status), 0
