"""The files of boxes that do not run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from engine.errors import BoxliteError, InvalidStateError
from engine.model import BoxRecord, RestartPolicy
from engine.portal.failures import translated
from engine.portal.session import GuestSession
from engine.runtime.context import Context
from engine.runtime.planning import make_plan
from engine.runtime.records import box_lock, settle
from engine.runtime.starting import wake
from engine.runtime.stopwatch import Stopwatch
from engine.shim.lifeline import Shim, start_shim
from engine.shim.plan import LaunchPlan, Verdict
from guest.wire import portal_pb2 as wire

SYNC_TIMEOUT_S = 120.0
"""How long the agent may take to write the disk back after a copy."""


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
                await make_plan(
                    context, record, attached=False, held=False, size=None, watch=watch, files_only=True
                ),
            )
            _, session, _ = await wake(context, record, plan, shim, stack, watch)
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
