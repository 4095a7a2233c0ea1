"""Ending, pausing and signalling a box, through its shim. Needs no connection to the agent, whose libraries take a while
to load."""

from __future__ import annotations

import asyncio
import contextlib
import os

from engine.errors import BoxliteError, InvalidStateError, NotFoundError, RpcTransportError, StoppedError
from engine.layout import BoxLayout
from engine.model import BoxRecord, BoxStatus
from engine.process import process_start_ticks
from engine.runtime.context import Context
from engine.runtime.records import get_box, has_process
from engine.shim.control import ask_shim

SHIM_LISTENS_WITHIN_S = 10.0


async def stop_box(
    context: Context, record: BoxRecord, *, reason: str, timeout_s: float | None, signum: int = 0
) -> BoxRecord:
    """Stop a box and wait until it has ended. One that does not run is left as it is."""
    if not record.status.is_active:
        return record
    grace = record.spec.stop_timeout_s if timeout_s is None else timeout_s
    order = {"op": "stop", "signal": signum, "grace_s": grace, "reason": reason}
    await _reach_shim(context.layout.box(record.id), record, order)
    # Written down after the order was taken: were this process killed in between, nobody would stop a "stopping" box.
    with contextlib.suppress(InvalidStateError, NotFoundError):
        await context.store.transition(
            record.id,
            BoxStatus.STOPPING,
            reason=reason,
            expect=(BoxStatus.RUNNING, BoxStatus.PAUSED),
            seen=record,
            manually_stopped=True,
        )
    return await wait_inactive(context, record)


async def _reach_shim(box: BoxLayout, record: BoxRecord, order: dict[str, object]) -> None:
    """Give an order to a shim that may be just beginning to listen, or about to end, which fulfils a stop too."""
    deadline = asyncio.get_running_loop().time() + SHIM_LISTENS_WITHIN_S
    while has_process(record):
        try:
            await ask_shim(box, order)
        except StoppedError:
            return
        except RpcTransportError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.02)
        else:
            return


async def signal_box(context: Context, record: BoxRecord, signum: int) -> None:
    """Send a signal to the main command."""
    if not record.status.is_running:
        verb = "unpause" if record.status is BoxStatus.PAUSED else "start"
        raise InvalidStateError(
            f"it is {record.status}",
            hint=f"boxlite {verb} {record.name}",
            box=record.name,
            operation="kill",
        )
    await ask_shim(context.layout.box(record.id), {"op": "signal", "signal": signum})


async def pause_box(context: Context, record: BoxRecord) -> BoxRecord:
    """Halt a running box where it stands. Raises InvalidStateError for one that does not run."""
    return await _order(context, record, "pause", allowed=BoxStatus.RUNNING)


async def unpause_box(context: Context, record: BoxRecord) -> BoxRecord:
    """Let a paused box run on. Raises InvalidStateError for one that is not paused."""
    return await _order(context, record, "unpause", allowed=BoxStatus.PAUSED)


async def _order(context: Context, record: BoxRecord, operation: str, *, allowed: BoxStatus) -> BoxRecord:
    if record.status is not allowed:
        hint = None if record.status.is_active else f"boxlite start {record.name}"
        raise InvalidStateError(
            f"it is {record.status}, not {allowed}", hint=hint, box=record.name, operation=operation
        )
    try:
        order = "pause" if allowed is BoxStatus.RUNNING else "resume"
        await ask_shim(context.layout.box(record.id), {"op": order})
    except BoxliteError as error:
        raise error.at(box=record.name, operation=operation) from error.__cause__
    return await get_box(context, record.id)


async def wait_inactive(context: Context, record: BoxRecord) -> BoxRecord:
    """Until the box has ended; its record then (the last one seen, when the box is removed on ending)."""
    await wait_process(record)
    try:
        return await get_box(context, record.id)
    except NotFoundError:
        return record


async def wait_process(record: BoxRecord) -> None:
    """Until the shim on record is gone: by pidfd where the system has it, else by asking ten times a second."""
    pid, start = record.state.pid, record.state.pid_start
    if pid is None or not has_process(record):
        return
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, ProcessLookupError, OSError):
        while has_process(record):  # noqa: ASYNC110  no pidfd here: there is nothing to wait for
            await asyncio.sleep(0.1)
        return
    try:
        if process_start_ticks(pid) != start:
            return
        loop = asyncio.get_running_loop()
        gone = loop.create_future()
        loop.add_reader(fd, _resolve, gone)
        try:
            await gone
        finally:
            loop.remove_reader(fd)
    finally:
        os.close(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
