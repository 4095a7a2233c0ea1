"""The box's container: its disk, its view of the machine, and the life of its main command."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guest.cgroups import Cgroup, limit_box, main_group
from guest.copyup import fill_volume
from guest.crun import Crun
from guest.device_filter import DeviceFilter
from guest.devices import leave_disks_to_the_host
from guest.disk import BoxDisk
from guest.errors import GuestError, from_os_error
from guest.execution import Ending, Execution
from guest.executor import Executor
from guest.files import FileWork
from guest.imagefiles import find_image_user
from guest.oci import BindMount
from guest.preparing import Prepared, prepare, share_of
from guest.reaper import Reaper
from guest.requests import ContainerRequest, ExecutionRequest, Identity
from guest.sessions import Sessions
from guest.users import User
from guest.wire.constants import MAIN_EXECUTION

_CLIENTS_DRAIN_S = 5.0
_KILLED_S = 10.0

Notify = Callable[[dict[str, Any]], None]


class Container:
    """Made once in a machine's life: `initialize`, `start`, executions, and the end when the main command ends.

    `notify` sends an event to the host; `on_output` gets the main command's output (see Execution).
    """

    def __init__(
        self,
        *,
        reaper: Reaper,
        sessions: Sessions,
        cgroup: Cgroup,
        work_dir: Path,
        notify: Notify,
        on_output: Callable[[int, bytes], bool],
        devices: DeviceFilter,
    ) -> None:
        self._reaper = reaper
        self._sessions = sessions
        self._cgroup = cgroup
        self._work = work_dir
        self._notify = notify
        self._on_output = on_output
        self._devices = devices
        self._crun = Crun(reaper, work_dir)
        self.disk = BoxDisk(work_dir / "rootfs")
        self._request: ContainerRequest | None = None
        self._identity: Identity | None = None
        self._prepared: Prepared | None = None
        self._executor: Executor | None = None
        self._initialized: asyncio.Future[None] = _future()
        self._running: asyncio.Future[None] = _future()
        self._life: asyncio.Task[None] | None = None

    @property
    def cgroup(self) -> Cgroup:
        return self._cgroup

    @property
    def main(self) -> Execution:
        return self._sessions.get(MAIN_EXECUTION)

    # ------------------------------------------------------------ making it

    def get_ready(self) -> None:
        """Before the template is saved: set the disks up, and have crun wait for a container."""
        leave_disks_to_the_host()
        self._crun.park(main_group(self._cgroup))

    async def initialize(self, identity: Identity, request: ContainerRequest) -> int:
        """Mount the disk and prepare everything up to the command. Raises GuestError."""
        if self._request is not None:
            raise GuestError("invalid_state", "the container is there already")
        self._request = request
        self._identity = identity
        try:
            self._prepared = self._prepare(identity, request)
            for bind in request.binds:
                if bind.fill:
                    await self._fill(bind)
            main = Execution(
                MAIN_EXECUTION, request.argv, tty=request.tty, stdin=request.stdin,
                cgroup=main_group(self._cgroup), on_output=self._on_output,
            )  # fmt: skip
            pid = 0
            if request.files_only:
                pid = await self._crun.create(self._prepared.config, replace_stdin(main))
                main.started(pid)
                self._reaper.watch(pid).add_done_callback(lambda status: main.ended_with(status.result()))
                self._running.set_result(None)
            self._sessions.add(main)
        except OSError as error:
            failure = from_os_error(error, "preparing the container")
            self._refuse(failure)
            raise failure from error
        except GuestError as error:
            self._refuse(error)
            raise
        self._initialized.set_result(None)
        return pid

    def _refuse(self, error: GuestError) -> None:
        self._sessions.refuse(MAIN_EXECUTION, error)
        for future in (self._initialized, self._running):
            if not future.done():
                future.set_exception(error)
                future.exception()

    def _prepare(self, identity: Identity, request: ContainerRequest) -> Prepared:
        self.disk.mount(ephemeral=identity.ephemeral)
        if request.memory_bytes or request.pids:
            limit_box(self._cgroup, memory_bytes=request.memory_bytes, pids=request.pids)
        if request.privileged:
            self._devices.detach()
        return prepare(self._work, self.disk.root, identity, request)

    async def _fill(self, bind: BindMount) -> None:
        """In a process of its own: it may take a while."""

        def fill(_: object) -> dict[str, Any]:
            return {"filled": fill_volume(self.disk.root, bind.target, bind.source)}

        work = FileWork(self._reaper, os.getpid(), fill, doing=f"filling the volume at {bind.target}")
        try:
            await work.result()
        finally:
            work.close()

    @property
    def share(self) -> Path:
        """Where the shared directory is mounted in the machine."""
        return share_of(self._work)

    # ------------------------------------------------------------ running it

    async def start(self) -> None:
        """Run the main command. Raises GuestError; the box is then at its end."""
        await asyncio.shield(self._initialized)
        main = self.main
        if self._life is not None or (self._request and self._request.files_only):
            raise GuestError("invalid_state", "the main command was started already")
        started: asyncio.Future[None] = _future()
        self._life = asyncio.get_running_loop().create_task(self._live(main, started))
        await asyncio.shield(started)

    async def _live(self, main: Execution, started: asyncio.Future[None]) -> None:
        """The main command's whole life: from crun to the disk being unmounted."""
        try:
            assert self._prepared is not None
            limited = self._request is not None and self._request.pids > 0
            pid = await self._crun.run(self._prepared.config, main, alone=limited)
        except (GuestError, OSError) as error:
            failure = (
                error if isinstance(error, GuestError) else from_os_error(error, "starting the container")
            )
            started.set_exception(failure)
            self._running.set_exception(failure)
            self._running.exception()
            main.never_ran(failure)
        else:
            main.started(pid)
            status = self._reaper.watch(pid)
            started.set_result(None)
            self._running.set_result(None)
            self._notify({"event": "started"})
            await status
            self._cgroup.kill()
            main.ended_with(status.result(), oom_killed=self._oom_kills() > 0)
        await self._finish(main)

    def _oom_kills(self) -> int:
        return self._cgroup.read_fields("memory.events").get("oom_kill", 0)

    async def _finish(self, main: Execution) -> None:
        ending = main.ending.result()
        self._notify({
            "event": "exit", "exit_code": ending.exit_code, "signal": ending.signal,
            "oom_killed": ending.oom_killed, "error": ending.error,
        })  # fmt: skip
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(main.drained(), _CLIENTS_DRAIN_S)
        main.finish_streams()
        await self.release_disk(sync=not (self._identity and self._identity.ephemeral))
        self._notify({"event": "halted"})

    async def release_disk(self, *, sync: bool) -> None:
        """Kill what is left in the container, then write the disk and part from it."""
        self._cgroup.kill()
        if not self.disk.mounted or not sync:
            return
        for _ in range(int(_KILLED_S / 0.01)):
            if not self._cgroup.populated:
                break
            await asyncio.sleep(0.01)
        self.disk.unmount()

    async def stop(self, signum: int, grace_s: float) -> Ending:
        """Signal the main command, wait, kill everything. Return how the main command ended."""
        main = await self._sessions.wait_for(MAIN_EXECUTION, timeout_s=1.0)
        if self._life is None and main.running and not main.pid:
            main.ended(Ending(exit_code=0))
            return main.ending.result()
        if main.running and not main.pid:  # crun is just making it
            await asyncio.wait((self._running,), timeout=grace_s)
        main.signal(signum, everyone=False)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(main.ending), grace_s)
        self._cgroup.kill()
        return await asyncio.shield(main.ending)

    def signal(self, signum: int) -> None:
        """Signal the main command; nothing happens when it does not run."""
        main = self._sessions.find(MAIN_EXECUTION)
        if main is not None:
            main.signal(signum, everyone=False)

    # ------------------------------------------------------------ executions

    async def execute(self, request: ExecutionRequest) -> Execution:
        """Run another command; one with a known id is the one that runs already. Raises GuestError."""
        known = self._sessions.find(request.execution_id)
        if known is not None:
            return known
        if request.is_rehearsal and not self.awaits_first_execution:
            raise GuestError("invalid_state", "there is nothing to rehearse for")
        await self._until_running()
        return await self._ready_executor().execute(request)

    @property
    def awaits_first_execution(self) -> bool:
        """The main command runs, and nobody has run another yet."""
        return (
            self._executor is None and self._life is not None and self._running.done() and self.main.running
        )

    def _ready_executor(self) -> Executor:
        if self._executor is None:
            assert self._prepared is not None and self._request is not None
            self._executor = Executor(
                reaper=self._reaper, crun=self._crun, sessions=self._sessions, cgroup=self._cgroup,
                container=self._prepared.process, main_pid=self.main.pid, seccomp_filter=self._request.seccomp_filter,
            )  # fmt: skip
        return self._executor

    async def _until_running(self) -> None:
        try:
            if not self._running.done():
                await asyncio.wait_for(asyncio.shield(self._running), 10.0)
        except TimeoutError:
            raise GuestError("invalid_state", "the box's main command does not run") from None
        self._running.result()
        if not self.main.running:
            raise GuestError("stopped", "the box's main command has ended")

    async def view_pid(self) -> int:
        """A process whose mount namespace and root are the container's view of files."""
        await self._until_running()
        return self.main.pid

    def user(self, spec: str) -> User:
        """Who `name|uid[:group|gid]` is in the container now; empty: whom its commands run as. Raises GuestError."""
        assert self._prepared is not None
        if not spec:
            return self._prepared.process.user
        root_fd = os.open(f"/proc/{self.main.pid}/root", os.O_PATH | os.O_DIRECTORY)
        try:
            return find_image_user(root_fd, spec)
        finally:
            os.close(root_fd)


def replace_stdin(execution: Execution) -> Execution:
    """A container that never runs its command needs no stdin."""
    execution.wants_stdin = False
    return execution


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
