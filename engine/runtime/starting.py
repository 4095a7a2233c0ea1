"""Starting a box, the one place that knows the order:

    image ─► base and overlay ─► template ─► ports ─► row "running" ─► shim launches ─► agent is asked ─► verdict

Until the verdict, the end of this process, or any failure, ends the box.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from engine import host
from engine.disks.qcow2 import create_overlay
from engine.errors import (
    BoxliteError,
    CommandNotExecutableError,
    CommandNotFoundError,
    EngineError,
    InvalidStateError,
    NotFoundError,
    PortInUseError,
    RpcTransportError,
    StoppedError,
)
from engine.fsutil import tail_lines
from engine.jailer.refusal import find_refusal
from engine.layout import BoxLayout
from engine.model import (
    BoxRecord,
    BoxSpec,
    BoxStatus,
    HealthState,
    ImageConfig,
    NetworkMode,
    PortSpec,
    RestartPolicy,
    StageTimings,
    TerminalSize,
    utc_now,
)
from engine.net.plan import plan_ports
from engine.portal.boot import boot
from engine.portal.execution import Execution
from engine.portal.failures import translated
from engine.portal.session import GuestSession, open_session
from engine.process import signal_number
from engine.runtime import images
from engine.runtime.attempts import note_failure
from engine.runtime.context import Context
from engine.runtime.directories import make_directories
from engine.runtime.guest import get_guest_files
from engine.runtime.machines import check_cpus, choose_machine
from engine.runtime.records import box_lock, settle
from engine.runtime.requests import container_init_request, guest_init_request, published_ports
from engine.runtime.restrictions import is_restricted, restriction_of
from engine.runtime.shares import mounts_of, shares_of
from engine.shim.lifeline import Shim, start_shim
from engine.shim.plan import LaunchPlan, NetworkGrant, Verdict
from engine.vmm.spec import VmSpec
from engine.vmm.tsc import clock_args
from guest.wire import portal_pb2 as wire
from guest.wire.constants import MAIN_EXECUTION

BOOT_TIMEOUT_S = 60.0
SYNC_TIMEOUT_S = 120.0
"""How long the agent may take to write the disk back after a copy."""


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds per stage, in the names of StageTimings. `failed` is the stage that an error ended."""

    begun: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        except BaseException:
            self.failed = name
            raise
        finally:
            self.stages[name] = round((time.monotonic() - begun) * 1000, 1)

    @property
    def timings(self) -> StageTimings:
        total = round((time.monotonic() - self.begun) * 1000, 1)
        return StageTimings(total_ms=total, **self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A box whose main command runs. `execution` is that command; its streams are open where it was asked for.
    `session` is the connection it came up over."""

    record: BoxRecord
    execution: Execution
    session: GuestSession
    shim: Shim


@contextlib.asynccontextmanager
async def started_box(
    context: Context,
    record: BoxRecord,
    *,
    attached: bool,
    held: bool = False,
    size: TerminalSize | None = None,
    shim: Shim | None = None,
) -> AsyncIterator[Started]:
    """Start a box and stay connected to it. `attached`: read the main command's output from its first byte on, and let
    the box end with this process; `held`: only the latter. `shim` is one started earlier to save time.

    Raises InvalidStateError when the box is not one that can be started, and whatever the stages raise, with the
    box's name; the box is then stopped or failed again, with the reason on record.
    """
    shim = shim or start_shim()  # first, so that its own start-up runs beside ours
    watch = Stopwatch()
    try:
        async with contextlib.AsyncExitStack() as stack:
            async with box_lock(context, record, "start"):
                record = await settle(context, await context.store.get(record.id))
                if not record.status.can_start:
                    raise InvalidStateError(f"it is {record.status}")
                plan = await _plan(context, record, attached=attached, held=held, size=size, watch=watch)
                started = await _launch(context, record, plan, shim, stack, watch)
            yield started
    except BoxliteError as error:
        if watch.failed:
            note_failure(context.layout.box(record.id), watch.stages, watch.failed, error)
        raise error.at(box=record.name, operation=error.operation or "start") from error.__cause__
    finally:
        shim.let_go()


@contextlib.asynccontextmanager
async def files_of_box(context: Context, record: BoxRecord) -> AsyncIterator[GuestSession]:
    """The files of a box that does not run: its machine with everything mounted, its command not run. At the end, however
    that comes, the disk is written back and the box is what it was before. Nobody else can start it meanwhile.

    Raises InvalidStateError when it runs, and what `started_box` raises.
    """
    shim = start_shim()
    try:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(box_lock(context, record, "cp"))
            record = await settle(context, await context.store.get(record.id))
            if not record.status.can_start:
                raise InvalidStateError(f"it is {record.status}")
            watch = Stopwatch()
            plan = _for_files(
                record,
                await _plan(
                    context, record, attached=False, held=False, size=None, watch=watch, files_only=True
                ),
            )
            _, session, _ = await _wake(context, record, plan, shim, stack, watch)
            try:
                yield session
            finally:
                await asyncio.shield(_put_to_rest(session, shim))
    except BoxliteError as error:
        raise error.at(box=record.name, operation="cp") from error.__cause__
    finally:
        shim.let_go()


def _for_files(record: BoxRecord, plan: LaunchPlan) -> LaunchPlan:
    """A plan that runs nothing: no command, no published port, no deadline, and nothing removed at the end."""
    machine = wire.InitRequest.FromString(plan.machine_request)
    machine.ephemeral = False
    container = wire.ContainerInitRequest.FromString(plan.container_request)
    container.files_only = container.init_process = True  # that process is there whatever the image holds
    container.user, container.working_dir, container.tty = "", "/", False
    return replace(
        plan,
        network=None if plan.network is None else replace(plan.network, ports=()),
        auto_remove=False,
        timeout_s=0.0,
        auto_stop_s=0.0,
        auto_delete_s=0.0,
        restart=RestartPolicy(),
        health=None,
        machine_request=machine.SerializeToString(),
        container_request=container.SerializeToString(),
        returns_to=record.state,
    )


async def _put_to_rest(session: GuestSession, shim: Shim) -> None:
    """Write the disk back, then end the machine. Raises when the disk could not be written back."""
    try:
        with translated("cp"):
            await session.shutdown(wire.ShutdownRequest(sync=True), timeout=SYNC_TIMEOUT_S)
    finally:
        await shim.send(Verdict(failure="its files were all that was wanted"))
        await shim.wait_ended()


async def _plan(
    context: Context,
    record: BoxRecord,
    *,
    attached: bool,
    held: bool,
    size: TerminalSize | None,
    watch: Stopwatch,
    files_only: bool = False,
) -> LaunchPlan:
    """Everything that can be refused before a process is started. `files_only`: the command will not run, and needs no
    secrets."""
    spec, box = record.spec, context.layout.box(record.id)
    check_cpus(spec)
    with watch.stage("image_prepare_ms"):
        source = await images.source_of_box(context, record)
    with watch.stage("filesystem_setup_ms"):
        make_directories(box)
        disk = await images.base_of_box(context, record)
        if not box.disk_path.exists():
            await create_overlay(disk, box.disk_path)
    with watch.stage("guest_rootfs_ms"):
        guest = await get_guest_files(context)
        shape, template = await choose_machine(context.layout, context.config, spec, guest, context.progress)
    with watch.stage("box_config_ms"):
        network = await _network_of(context, spec, source.config)
        secrets = None
        if spec.secrets and network is not None and not files_only:
            from engine.runtime.secrets import get_secrets_grant

            secrets = await get_secrets_grant(context, record)
    shares = shares_of(context.layout, record)
    container = container_init_request(
        record,
        source.config,
        attached=attached,
        size=size,
        cache_dir=context.layout.jail_dir,
        mounts=mounts_of(spec.volumes, shares),
        ca_certificates=() if secrets is None else (secrets.authority.certificate_pem,),
    )
    return LaunchPlan(
        box_id=record.id,
        box_name=record.name,
        home=str(context.layout.home),
        vm=VmSpec(
            shape=shape,
            guest=guest,
            share_path=str(box.mounts_dir),
            shares=shares,
            disk_path=str(box.disk_path),
            base_path=disk.base_path,
            disk_size_bytes=disk.size_bytes,
            template=template,
            seccomp=spec.security.seccomp_enabled,
            kernel_args=() if template else await asyncio.to_thread(clock_args, shape.accel),
        ),
        security=spec.security,
        network=network,
        secrets=secrets,
        attached=attached or held,
        collects=attached,
        auto_remove=spec.auto_remove,
        stop_signal=signal_number(spec.stop_signal or source.config.stop_signal or "TERM"),
        stop_timeout_s=spec.stop_timeout_s,
        timeout_s=spec.timeout_s,
        auto_stop_s=spec.auto_stop_s,
        auto_delete_s=spec.auto_delete_s,
        restart=spec.restart,
        health=spec.health,
        machine_request=guest_init_request(
            record, ephemeral=spec.auto_remove, ipv6=network is not None and network.ipv6
        ).SerializeToString(),
        container_request=container.SerializeToString(),
    )


async def _network_of(context: Context, spec: BoxSpec, image: ImageConfig) -> NetworkGrant | None:
    """What the network process is granted; None without a network. Raises PortInUseError."""
    if spec.network.mode is NetworkMode.DISABLED:
        return None
    return NetworkGrant(
        ports=await _plan_ports(context, published_ports(spec, image)),
        host_access=spec.network.host_access,
        resolver=host.resolver(),
        ipv6=host.has_ipv6(),
        restriction=restriction_of(spec) if is_restricted(spec) else None,
    )


async def _plan_ports(context: Context, asked: Sequence[PortSpec]) -> tuple[PortSpec, ...]:
    """Host ports for all of them. Raises PortInUseError naming the box or process that has one of them."""
    try:
        return plan_ports(asked)
    except PortInUseError as error:
        for port in asked:
            for holder in await context.store.list([status for status in BoxStatus if status.is_active]):
                if any(
                    (one.host_port, one.protocol) == (port.host_port, port.protocol)
                    for one in holder.state.ports
                ):
                    raise PortInUseError(
                        f"host port {port.host_port}/{port.protocol} is in use by box {holder.name}",
                        hint=f"stop that box (`boxlite stop {holder.name}`), or publish another port with -p HOST:BOX",
                    ) from error
        raise


async def _launch(
    context: Context,
    record: BoxRecord,
    plan: LaunchPlan,
    shim: Shim,
    stack: contextlib.AsyncExitStack,
    watch: Stopwatch,
) -> Started:
    record, session, execution = await _wake(context, record, plan, shim, stack, watch)
    await shim.send(Verdict())
    # Nobody asks how long it took to start what is gone in a moment.
    if not (plan.auto_remove and plan.collects):
        with contextlib.suppress(NotFoundError):  # it has ended, and with --rm it is gone
            record = await context.store.update_state(record.id, timings=watch.timings)
    return Started(record=record, execution=execution, session=session, shim=shim)


async def _wake(
    context: Context,
    record: BoxRecord,
    plan: LaunchPlan,
    shim: Shim,
    stack: contextlib.AsyncExitStack,
    watch: Stopwatch,
) -> tuple[BoxRecord, GuestSession, Execution]:
    """The machine's start up to the verdict, which is a failure's only."""
    record = await context.store.transition(
        record.id,
        BoxStatus.RUNNING,
        reason="starting",
        pid=shim.pid,
        pid_start=shim.start_ticks,
        boot_id=host.boot_id(),
        accel=plan.vm.shape.accel,
        exit_code=None,
        oom_killed=False,
        finished_at=None,
        started_at=utc_now(),
        restart_count=0,
        manually_stopped=False,
        health=HealthState.NONE,
        health_failures=0,
        ports=() if plan.network is None else plan.network.ports,
    )
    await shim.send(plan)
    try:
        with watch.stage("box_spawn_ms"):
            await shim.wait_machine()
        with watch.stage("container_init_ms"):
            async with asyncio.timeout(BOOT_TIMEOUT_S):
                session = await stack.enter_async_context(
                    open_session(context.layout.box(record.id).sockets_dir)
                )
                execution = Execution(session, MAIN_EXECUTION, tty=record.spec.tty)
                stack.push_async_callback(execution.close)
                await boot(
                    session,
                    execution,
                    machine=wire.InitRequest.FromString(plan.machine_request),
                    container=wire.ContainerInitRequest.FromString(plan.container_request),
                    attached=plan.collects,
                )
    except BaseException as error:
        said = _last_words(context.layout.box(record.id))  # a box with --rm is gone in a moment
        refusal = find_refusal(context.layout.box(record.id).qemu_log)
        await shim.send(_verdict_on(error))
        last = await shim.wait_ended()
        if last.get("asked"):
            raise StoppedError("it was stopped while it was starting") from error
        if refusal is not None:
            raise refusal from error
        if isinstance(error, RpcTransportError | TimeoutError | EngineError):
            raise _machine_failure(record, str(last.get("reason", error)), said) from error
        raise
    return record, session, execution


def _last_words(box: BoxLayout) -> list[str]:
    """What QEMU and the machine's console said last."""
    return [
        f"{name}: {lines[-1]}"
        for name, path in (("QEMU", box.qemu_log), ("console", box.console_log))
        if (lines := tail_lines(path))
    ]


def _machine_failure(record: BoxRecord, reason: str, said: list[str]) -> EngineError:
    """Why a machine did not come up."""
    return EngineError(
        "; ".join((f"the machine did not start: {reason}", *said)),
        hint="`boxlite system doctor` checks this host"
        if record.spec.auto_remove
        else f"`boxlite system doctor` checks this host; `boxlite logs --console {record.name}` shows more",
    )


def _verdict_on(error: BaseException) -> Verdict:
    code = error.exit_status if isinstance(error, CommandNotFoundError | CommandNotExecutableError) else None
    reason = error.message if isinstance(error, BoxliteError) else "the command that was starting it ended"
    return Verdict(failure=reason, exit_code=code)
