"""Further commands in a running container."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

from guest.cgroups import Cgroup, CgroupPool, Counter
from guest.crun import Crun
from guest.entry import Entry
from guest.errors import GuestError, from_os_error
from guest.execution import Execution
from guest.imagefiles import check_working_dir, find_image_user
from guest.oci import ALL_CAPABILITIES, ProcessSpec, build_process, merge_env
from guest.pipes import Pipes
from guest.reaper import Reaper, exit_code_and_signal
from guest.requests import ExecutionRequest
from guest.sessions import Sessions


class Executor:
    """Runs commands beside the main one, `main_pid`, whose process is `container`. Each has a cgroup of its own below
    `cgroup`, so that all its descendants can be counted and killed."""

    def __init__(
        self,
        *,
        reaper: Reaper,
        crun: Crun,
        sessions: Sessions,
        cgroup: Cgroup,
        container: ProcessSpec,
        main_pid: int,
        seccomp_filter: bytes,
    ) -> None:
        self._reaper = reaper
        self._crun = crun
        self._sessions = sessions
        self._oom_kills = Counter(cgroup, "memory.events", "oom_kill")
        self._groups = CgroupPool(cgroup)
        self._container = container
        self._main_pid = main_pid
        self._entry = Entry(reaper, main_pid, seccomp_filter=seccomp_filter)

    async def execute(self, request: ExecutionRequest) -> Execution:
        """Run a command that nobody has asked for yet. Raises GuestError when it cannot be run."""
        cgroup = self._groups.take()
        execution = Execution(
            request.execution_id, request.argv, tty=request.tty, stdin=request.stdin, cgroup=cgroup,
            held=not request.detach, background=request.background,
        )  # fmt: skip
        if not request.is_rehearsal:
            self._sessions.add(execution)
        oom_kills = self._oom_kills.read()
        try:
            pid = await self._run(self._process(request), execution, only_by_entry=request.is_rehearsal)
        except (GuestError, OSError) as error:
            self._part(execution)
            failure = error if isinstance(error, GuestError) else from_os_error(error, "running the command")
            execution.never_ran(failure)
            raise failure from error
        execution.started(pid)
        self._watch(execution, request.timeout_s, oom_kills)
        if execution.killed:
            execution.signal(signal.SIGKILL, everyone=True)
        return execution

    async def _run(self, process: ProcessSpec, execution: Execution, *, only_by_entry: bool) -> int:
        if process.tty:
            return await self._crun.execute(build_process(process), execution)
        pipes = Pipes.open(stdin=execution.wants_stdin)
        execution.use_pipes(pipes)
        try:
            pid = await self._entry.run(process, execution.cgroup, pipes)
            if pid is None and only_by_entry:
                raise GuestError("unsupported", "there is no other way into the container than crun")
            if pid is None:
                pid = await self._crun.execute(build_process(process), execution, pipes)
        finally:
            pipes.close()
        return pid

    def _watch(self, execution: Execution, timeout_s: float, oom_kills: int) -> None:
        timer: asyncio.TimerHandle | None = None

        def time_is_up() -> None:
            execution.timed_out = True
            execution.cgroup.kill()

        def ended(status: int) -> None:
            if timer is not None:
                timer.cancel()
            _, signum = exit_code_and_signal(status)
            oom_killed = signum == signal.SIGKILL and self._oom_kills.read() > oom_kills
            execution.ended_with(status, oom_killed=oom_killed)
            self._part(execution)

        if timeout_s > 0:
            timer = asyncio.get_running_loop().call_later(timeout_s, time_is_up)
        execution.on_streams_ended = self._reaper.reap
        self._reaper.when_ended(execution.pid, ended)

    def _part(self, execution: Execution) -> None:
        """Its cgroup is empty and free for others, or holds what it left running."""
        if self._groups.give_back(execution.cgroup):
            execution.part_from_cgroup()

    def _process(self, request: ExecutionRequest) -> ProcessSpec:
        container = self._container
        working_dir, user = request.working_dir or container.working_dir, container.user
        if request.working_dir or request.user:
            root_fd = os.open(f"/proc/{self._main_pid}/root", os.O_PATH | os.O_DIRECTORY)
            try:
                if request.working_dir:
                    check_working_dir(root_fd, working_dir)
                if request.user:
                    user = find_image_user(root_fd, request.user)
            finally:
                os.close(root_fd)
        home = (f"HOME={user.home or '/'}",) if request.user else ()
        term = ("TERM=xterm",) if request.tty else ()
        return replace(
            container,
            argv=request.argv,
            env=merge_env(term, container.env, home, request.env),
            working_dir=working_dir,
            user=user,
            tty=request.tty,
            capabilities=ALL_CAPABILITIES if request.privileged else container.capabilities,
            rows=request.rows,
            cols=request.cols,
        )
