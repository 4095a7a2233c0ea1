"""Commands in a box that runs: further ones, and the main one again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

from engine.errors import BoxliteError, InvalidStateError, NotFoundError, RpcTransportError
from engine.fsutil import tail_lines
from engine.model import BoxRecord, BoxStatus, ExecSpec, ExitStatus
from engine.portal.execution import Execution
from engine.portal.failures import translated
from engine.portal.listing import get_session
from engine.portal.session import GuestSession, open_session
from engine.progress import Progress
from engine.runtime.context import Context
from engine.runtime.records import get_box
from engine.runtime.requests import exec_request
from engine.runtime.stopping import wait_inactive
from guest.wire.constants import MAIN_EXECUTION, PORTAL_PORTS

ENDING_POLL_S = 0.01
LOSS_PATIENCE_S = 0.7
"""A lost connection is told within a second, with the reason if that is on record by then."""
RECORD_TIMEOUT_S = 10.0
STARTING_PATIENCE_S = 20.0
STARTING_POLL_S = 0.02


@contextlib.asynccontextmanager
async def session_with(context: Context, record: BoxRecord, operation: str) -> AsyncIterator[GuestSession]:
    """A connection to the agent of a running box.

    Raises InvalidStateError when the box does not run; a connection lost because the machine died is told as that.
    """
    if record.status is BoxStatus.PAUSED:
        raise InvalidStateError(
            "it is paused" if record.state.reason == "pause" else f"it is paused: {record.state.reason}",
            hint=f"boxlite unpause {record.name}",
            box=record.name,
            operation=operation,
        )
    if not record.status.is_active:
        raise InvalidStateError(
            f"it is {record.status}",
            hint=f"boxlite start {record.name}",
            box=record.name,
            operation=operation,
        )
    async with loss_explained(context, record, operation), contextlib.AsyncExitStack() as stack:
        yield await _connected(context, record, stack)


async def _connected(context: Context, record: BoxRecord, stack: contextlib.AsyncExitStack) -> GuestSession:
    """A box that is only being started is on record as running before its machine has sockets: wait for them then."""
    deadline = asyncio.get_running_loop().time() + STARTING_PATIENCE_S
    while True:
        try:
            return await stack.enter_async_context(
                open_session(
                    context.layout.box(record.id).sockets_dir, on_wait=lambda: tell_waiting(context, record)
                )
            )
        except RpcTransportError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            if asyncio.get_running_loop().time() > deadline:
                raise
            if not (await get_box(context, record.id)).status.is_active:
                raise
        await asyncio.sleep(STARTING_POLL_S)


@contextlib.asynccontextmanager
async def loss_explained(context: Context, record: BoxRecord, operation: str) -> AsyncIterator[None]:
    """Errors get the box's name and the operation, a lost connection the reason why it was lost."""
    try:
        yield
    except RpcTransportError as error:
        raise (await explain_loss(context, record, error)).at(box=record.name, operation=operation) from error
    except BoxliteError as error:
        raise error.at(box=record.name, operation=operation) from error.__cause__


def tell_waiting(context: Context, record: BoxRecord) -> None:
    context.progress(
        Progress(
            stage="debug",
            item=record.id,
            message=f"waiting for a free connection to box {record.name}: all {PORTAL_PORTS} are in use",
        )
    )


async def explain_loss(context: Context, record: BoxRecord, error: BoxliteError) -> BoxliteError:
    """Why the connection was lost, if the box has ended: its recorded reason and the console's last line."""
    console = context.layout.box(record.id).console_log
    deadline = time.monotonic() + LOSS_PATIENCE_S
    while time.monotonic() < deadline:  # the shim needs a moment to write down what happened
        try:
            now = await get_box(context, record.id)
        except NotFoundError:
            return RpcTransportError(
                "the machine is gone, and the box was removed, as was asked for"
                if record.spec.auto_remove
                else "the box was removed"
            )
        if not now.status.is_active:
            return RpcTransportError(
                f"the machine is gone: {now.state.reason}{_last_words(console)}", log_path=str(console)
            )
        await asyncio.sleep(ENDING_POLL_S)
    return RpcTransportError(f"{error.message}{_last_words(console)}", hint=error.hint, log_path=str(console))


def _last_words(console: Path) -> str:
    lines = tail_lines(console)
    return f"; its console ended with: {lines[-1]}" if lines else ""


@contextlib.asynccontextmanager
async def executing(context: Context, record: BoxRecord, spec: ExecSpec) -> AsyncIterator[Execution]:
    """Run a further command. Leaving the context while it runs kills it, unless the spec says detach."""
    async with session_with(context, record, "exec") as session:
        execution = Execution(session, secrets.token_hex(16), tty=spec.tty, stdin=spec.stdin)
        request = exec_request(spec, execution.id)
        try:
            if spec.detach:
                with translated("exec"):
                    await session.exec(request)
                yield execution
                return
            try:
                await execution.begin(request)
            except asyncio.CancelledError:
                await execution.close()  # first: it shall not be asked for any more when it is ended
                await end_execution(execution)
                raise
            try:
                yield execution
            finally:
                if not (execution.released or execution.has_ended):
                    await end_execution(execution)
        finally:
            await execution.close()


async def end_execution(execution: Execution) -> None:
    """Kill it with all its processes, if it still can be; also where the caller is cancelled meanwhile."""
    with contextlib.suppress(BoxliteError):
        await asyncio.shield(execution.kill())


@contextlib.asynccontextmanager
async def attached(
    context: Context, record: BoxRecord, execution_id: str | None = None
) -> AsyncIterator[Execution]:
    """The main command of a running box, or with an id (or its beginning) one that exec added, also one that has ended;
    what it printed last (256 KiB a stream) comes first."""
    async with session_with(context, record, "attach") as session:
        if execution_id is None or execution_id in (record.id, MAIN_EXECUTION):
            execution = Execution(
                session,
                MAIN_EXECUTION,
                tty=record.spec.tty,
                stdin=record.spec.stdin_open,
                recorded_end=functools.partial(recorded_end, context, record),
            )
        else:
            chosen = await get_session(session, execution_id)
            execution = Execution(
                session, chosen.id, tty=chosen.tty, stdin=chosen.stdin and chosen.exit_code is None
            )
        try:
            yield execution
        finally:
            await execution.close()


async def recorded_end(context: Context, record: BoxRecord) -> ExitStatus | None:
    """How the main command ended, from the record; None when the box failed, is gone, or has not ended."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(RECORD_TIMEOUT_S):
            now = await wait_inactive(context, record)
            if now.status is BoxStatus.STOPPED and now.state.exit_code is not None:
                return ExitStatus(exit_code=now.state.exit_code, oom_killed=now.state.oom_killed)
    return None
