"""The box's container: its disk, its view of the machine, and the life of its main command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from guest.cgroups import Cgroup, limit_box
from guest.crun import Crun
from guest.device_filter import DeviceFilter
from guest.devices import find_devices, find_disk, leave_disks_to_the_host
from guest.errors import GuestError, from_os_error
from guest.imagefiles import check_working_dir, find_image_user, is_mounted
from guest.init_process import with_init_process
from guest.mounts import MS_NOATIME, MS_NODEV, MS_NOSUID, freeze, mount, sync_file_system, thaw, unmount
from guest.oci import (
    ALL_CAPABILITIES,
    DEFAULT_SHM_BYTES,
    BindMount,
    ContainerSpec,
    ProcessSpec,
    build_config,
    build_process,
    default_env,
    merge_env,
)
from guest.reaper import Reaper, exit_code_and_signal
from guest.requests import ContainerRequest, ExecutionRequest, Identity
from guest.rootfs import (
    exists_in_root,
    make_directories_in_root,
)
from guest.sessions import Ending, Execution, Sessions
from guest.trust import trust
from guest.users import User
from guest.wire.constants import BOX_DISK_SERIAL, MAIN_EXECUTION, SHARE_TAG

_CLIENTS_DRAIN_S = 5.0
_KILLED_S = 10.0
_MOUNT_OPTIONS = "noinit_itable,no_prefetch_block_bitmaps"
"""Both together keep the file system from starting a thread of its own (ext4(5))."""
IDENTITY_DIR = "etc"
_IDENTITY_BYTES = 4 << 20
_SHARE_OPTIONS = "trans=virtio,version=9p2000.L,msize=512000,cache=mmap,access=client"

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
        self._disk = find_disk(BOX_DISK_SERIAL)
        self._request: ContainerRequest | None = None
        self._identity: Identity | None = None
        self._process: ProcessSpec | None = None
        self._config: dict[str, Any] = {}
        self._initialized: asyncio.Future[None] = _future()
        self._running: asyncio.Future[None] = _future()
        self._life: asyncio.Task[None] | None = None
        self._mounted = False
        self._exec_count = 0
        self.frozen = False

    @property
    def rootfs(self) -> Path:
        return self._work / "rootfs"

    @property
    def cgroup(self) -> Cgroup:
        return self._cgroup

    @property
    def disk(self) -> Path | None:
        """The block device of the container's root file system."""
        return self._disk

    @property
    def main(self) -> Execution:
        return self._sessions.get(MAIN_EXECUTION)

    # ------------------------------------------------------------ making it

    def get_ready(self) -> None:
        """Before the template is saved: set the disks up, and have crun wait for a container."""
        leave_disks_to_the_host()
        self._crun.park(self._cgroup)

    async def initialize(self, identity: Identity, request: ContainerRequest) -> int:
        """Mount the disk and prepare everything up to the command. Raises GuestError."""
        if self._request is not None:
            raise GuestError("invalid_state", "the container is there already")
        self._request = request
        self._identity = identity
        try:
            self._prepare(identity, request)
            main = Execution(
                MAIN_EXECUTION, request.argv, tty=request.tty, stdin=request.stdin, cgroup=self._cgroup,
                on_output=self._on_output,
            )  # fmt: skip
            pid = 0
            if request.files_only:
                pid = await self._crun.create(self._config, replace_stdin(main))
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

    def _prepare(self, identity: Identity, request: ContainerRequest) -> None:
        self._mount_disk(identity)
        root_fd = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY)
        try:
            if request.create_working_dir:
                make_directories_in_root(root_fd, request.working_dir)
            if not is_mounted(request.working_dir, request):
                check_working_dir(root_fd, request.working_dir)
            user = find_image_user(root_fd, request.user)
            trusted = trust(root_fd, request.ca_certificates, request.env)
            machine_id = exists_in_root(root_fd, "/etc")
        finally:
            os.close(root_fd)
        if request.memory_bytes or request.pids:
            limit_box(self._cgroup, memory_bytes=request.memory_bytes, pids=request.pids)
        if any(bind.source.startswith(str(self.share)) for bind in request.binds):
            self._mount_share()
        argv, binds = request.argv, request.binds
        if request.init_process:
            argv, init = with_init_process(argv)
            binds = (*binds, init)
        self._process = ProcessSpec(
            argv=argv,
            env=merge_env(
                default_env(hostname=identity.hostname, home=user.home, tty=request.tty), trusted, request.env
            ),
            working_dir=request.working_dir,
            user=user,
            tty=request.tty,
            capabilities=ALL_CAPABILITIES if request.privileged else request.capabilities,
            rlimits=request.rlimits,
            no_new_privileges=request.no_new_privileges,
            rows=request.rows,
            cols=request.cols,
        )
        spec = ContainerSpec(
            process=self._process,
            rootfs=str(self.rootfs),
            hostname=identity.hostname,
            mounts=(*self._identity_mounts(identity, machine_id=machine_id), *binds, *request.tmpfs),
            read_only=request.read_only,
            privileged=request.privileged,
            shm_bytes=request.shm_bytes or DEFAULT_SHM_BYTES,
            devices=tuple(find_devices()) if request.privileged else (),
            seccomp_filter=request.seccomp_filter,
        )
        self._config = build_config(spec)
        if request.privileged:
            self._devices.detach()

    @property
    def share(self) -> Path:
        """Where the shared directory is mounted in the machine."""
        return self._work / "share"

    def _mount_disk(self, identity: Identity) -> None:
        if self._disk is None:
            raise GuestError("invalid_state", f"the machine has no disk with the serial {BOX_DISK_SERIAL}")
        self.rootfs.mkdir(exist_ok=True)
        options = f"{_MOUNT_OPTIONS},nobarrier,noload" if identity.ephemeral else _MOUNT_OPTIONS
        mount(str(self._disk), str(self.rootfs), "ext4", MS_NOATIME, options)
        self._mounted = True

    def _mount_share(self) -> None:
        self.share.mkdir(exist_ok=True)
        mount(SHARE_TAG, str(self.share), "9p", MS_NOSUID | MS_NODEV, _SHARE_OPTIONS)

    def _identity_mounts(self, identity: Identity, *, machine_id: bool) -> tuple[BindMount, ...]:
        folder = self._work / IDENTITY_DIR
        files = {
            "/etc/hostname": f"{identity.hostname}\n",
            "/etc/hosts": identity.hosts,
            "/etc/resolv.conf": identity.resolv,
        }
        if machine_id and identity.machine_id:
            files["/etc/machine-id"] = f"{identity.machine_id}\n"
        binds = []
        for target, text in files.items():
            source = folder / Path(target).name
            source.write_text(text)
            binds.append(BindMount(source=str(source), target=target))
        return tuple(binds)

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
            limited = self._request is not None and self._request.pids > 0
            pid = await self._crun.run(self._config, main, alone=limited)
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
        if not self._mounted or not sync:
            return
        for _ in range(int(_KILLED_S / 0.01)):
            if not self._cgroup.populated:
                break
            await asyncio.sleep(0.01)
        sync_file_system(str(self.rootfs))
        with contextlib.suppress(OSError):
            unmount(str(self.rootfs))
            self._mounted = False

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
        await self._until_running()
        self._exec_count += 1
        cgroup = self._cgroup.child(f"exec-{self._exec_count}").create()
        execution = Execution(
            request.execution_id, request.argv, tty=request.tty, stdin=request.stdin, cgroup=cgroup,
            held=not request.detach, background=request.background,
        )  # fmt: skip
        self._sessions.add(execution)
        try:
            pid = await self._crun.execute(build_process(self._exec_process(request)), execution)
        except (GuestError, OSError) as error:
            cgroup.remove()
            failure = error if isinstance(error, GuestError) else from_os_error(error, "running the command")
            execution.never_ran(failure)
            raise failure from error
        execution.started(pid)
        self._watch_execution(execution, request.timeout_s)
        return execution

    def _watch_execution(self, execution: Execution, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None
        oom_kills_before = self._oom_kills()

        def time_is_up() -> None:
            execution.timed_out = True
            execution.cgroup.kill()

        def ended(status: asyncio.Future[int]) -> None:
            if timer is not None:
                timer.cancel()
            _, signum = exit_code_and_signal(status.result())
            oom_killed = signum == signal.SIGKILL and self._oom_kills() > oom_kills_before
            execution.ended_with(status.result(), oom_killed=oom_killed)
            execution.cgroup.remove()

        if timeout_s > 0:
            timer = loop.call_later(timeout_s, time_is_up)
        self._reaper.watch(execution.pid).add_done_callback(ended)

    def _exec_process(self, request: ExecutionRequest) -> ProcessSpec:
        assert self._process is not None
        container = self._process
        root_fd = os.open(f"/proc/{self.main.pid}/root", os.O_PATH | os.O_DIRECTORY)
        try:
            working_dir = request.working_dir or container.working_dir
            if request.working_dir:
                check_working_dir(root_fd, working_dir)
            user = find_image_user(root_fd, request.user) if request.user else container.user
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

    async def _until_running(self) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._running), 10.0)
        except TimeoutError:
            raise GuestError("invalid_state", "the box's main command does not run") from None
        if not self.main.running:
            raise GuestError("stopped", "the box's main command has ended")

    async def view_pid(self) -> int:
        """A process whose mount namespace and root are the container's view of files."""
        await self._until_running()
        return self.main.pid

    def user(self, spec: str) -> User:
        """Who `name|uid[:group|gid]` is in the container now; empty: whom its commands run as. Raises GuestError."""
        assert self._process is not None
        if not spec:
            return self._process.user
        root_fd = os.open(f"/proc/{self.main.pid}/root", os.O_PATH | os.O_DIRECTORY)
        try:
            return find_image_user(root_fd, spec)
        finally:
            os.close(root_fd)

    # ------------------------------------------------------------ the disk

    def quiesce(self) -> int:
        if not self._mounted or self.frozen:
            return 0
        freeze(str(self.rootfs))
        self.frozen = True
        return 1

    def thaw(self) -> int:
        if not self.frozen:
            return 0
        thaw(str(self.rootfs))
        self.frozen = False
        return 1

    def disk_usage(self) -> tuple[int, int]:
        """Bytes used and all bytes of the container's file system."""
        if not self._mounted:
            return 0, 0
        found = os.statvfs(self.rootfs)
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize


def make_identity_dir(work_dir: Path) -> None:
    """A file system of its own for the files that the container may write to: one that fills it has filled nothing else."""
    folder = work_dir / IDENTITY_DIR
    folder.mkdir(exist_ok=True)
    mount("tmpfs", str(folder), "tmpfs", MS_NOSUID | MS_NODEV, f"size={_IDENTITY_BYTES},mode=755")


def replace_stdin(execution: Execution) -> Execution:
    """A container that never runs its command needs no stdin."""
    execution.wants_stdin = False
    return execution


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
