"""Starting a box, the one place that knows the order:

    plan (engine.runtime.planning) ─► row "running" ─► shim launches ─► agent is asked ─► verdict

Until the verdict, the end of this process, or any failure, ends the box.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from engine import host
from engine.errors import (
    BoxliteError,
    CommandNotExecutableError,
    CommandNotFoundError,
    EngineError,
    InvalidStateError,
    NotFoundError,
    RpcTransportError,
    StoppedError,
)
from engine.fsutil import tail_lines
from engine.jailer.refusal import find_refusal
from engine.layout import BoxLayout
from engine.model import (
    BoxRecord,
    BoxStatus,
    HealthState,
    TerminalSize,
    utc_now,
)
from engine.portal.boot import boot
from engine.portal.execution import Execution
from engine.portal.session import GuestSession, open_session
from engine.runtime.attempts import note_failure
from engine.runtime.context import Context
from engine.runtime.machines import usual_machine
from engine.runtime.planning import make_plan
from engine.runtime.records import FILES_ONLY, box_lock, settle
from engine.runtime.stopwatch import Stopwatch
from engine.shim.lifeline import Shim, start_shim
from engine.shim.plan import LaunchPlan, Verdict
from engine.values import dataclass
from guest.wire import portal_pb2 as wire
from guest.wire.constants import MAIN_EXECUTION

BOOT_TIMEOUT_S = 60.0


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
    shim = shim or start_shim(
        usual=usual_machine(context.layout, record.spec)
    )  # first, so that its own start-up runs beside ours
    watch = Stopwatch()
    try:
        async with contextlib.AsyncExitStack() as stack:
            async with box_lock(context, record, "start"):
                record = await settle(context, await context.store.get(record.id))
                if not record.status.can_start:
                    raise InvalidStateError(f"it is {record.status}")
                plan = await make_plan(context, record, attached=attached, held=held, size=size, watch=watch)
                started = await _launch(context, record, plan, shim, stack, watch)
            yield started
    except BoxliteError as error:
        if watch.failed:
            note_failure(context.layout.box(record.id), watch.stages, watch.failed, error)
        raise error.at(box=record.name, operation=error.operation or "start") from error.__cause__
    finally:
        shim.let_go()


async def _launch(
    context: Context,
    record: BoxRecord,
    plan: LaunchPlan,
    shim: Shim,
    stack: contextlib.AsyncExitStack,
    watch: Stopwatch,
) -> Started:
    record, session, execution = await wake(context, record, plan, shim, stack, watch)
    await shim.send(Verdict())
    # Nobody asks how long it took to start what is gone in a moment.
    if not (plan.auto_remove and plan.collects):
        with contextlib.suppress(NotFoundError):  # it has ended, and with --rm it is gone
            record = await context.store.update_state(record.id, timings=watch.timings)
    return Started(record=record, execution=execution, session=session, shim=shim)


async def wake(
    context: Context,
    record: BoxRecord,
    plan: LaunchPlan,
    shim: Shim,
    stack: contextlib.AsyncExitStack,
    watch: Stopwatch,
) -> tuple[BoxRecord, GuestSession, Execution]:
    """The machine's start up to the verdict, which is a failure's only. Who cancels it finds no box that runs."""
    begun = asyncio.ensure_future(_begin(context, record, plan, shim))
    try:
        # A cancellation would not undo what is being written: the box would be on record with a shim that has no plan.
        record = await asyncio.shield(begun)
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
        await asyncio.wait((begun,))
        if begun.cancelled() or begun.exception() is not None:
            raise
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


async def _begin(context: Context, record: BoxRecord, plan: LaunchPlan, shim: Shim) -> BoxRecord:
    """Put the box on record as running, and have its shim run it."""
    record = await context.store.transition(
        record.id,
        BoxStatus.RUNNING,
        reason="starting" if plan.returns_to is None else FILES_ONLY,
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
    return record


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
