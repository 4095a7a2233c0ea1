"""What one process has with one box while it works in it: a connection that all its commands share and, where the box is
not to outlive the process, the lifeline of the box's shim.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

from engine.errors import BoxliteError, InvalidStateError, RpcTransportError
from engine.model import BoxRecord, BoxStatus, ExecSpec
from engine.portal.execution import Execution
from engine.portal.session import GuestSession, open_session, ping
from engine.runtime import running
from engine.runtime.context import Context
from engine.runtime.records import get_box
from engine.runtime.requests import exec_request
from engine.runtime.resting import files_of_box
from engine.runtime.starting import started_box
from guest.wire import portal_pb2 as wire
from guest.wire.constants import MAIN_EXECUTION

if TYPE_CHECKING:
    from engine.net.flow import Flow

T = TypeVar("T")


class BoxLink:
    """Connects when something is first asked for, and again when the box was started anew in between.

    A box that this link starts ends with this process, unless its spec says detach. `record` is the box as last seen.
    Every method raises NotFoundError when the box is gone.
    """

    def __init__(self, context: Context, record: BoxRecord) -> None:
        self._context = context
        self.record = record
        self._turn = asyncio.Lock()
        self._session: GuestSession | None = None
        self._let_go = asyncio.Event()
        self._holders: list[asyncio.Task[None]] = []

    async def start(self) -> BoxRecord:
        """Start the box, whatever it is; one that runs is left alone."""
        async with self._turn:
            record = await self._look()
            if not record.status.is_active:
                await self._start(record)
        return self.record

    async def exec(self, spec: ExecSpec) -> Execution:
        """Run a further command; its output is kept from the first byte on, for readers of both streams.

        A box that has never run, or whose command may be run again, is started for it.
        """
        request = exec_request(spec, secrets.token_hex(16))
        try:
            return await self._begun(request)
        except RpcTransportError:
            self._session = None  # repeated over a new connection with the same id, it is the same execution
            try:
                return await self._begun(request)
            except BoxliteError as error:
                raise await self.explain(error, "exec") from error
        except BoxliteError as error:
            raise await self.explain(error, "exec") from error

    async def _begun(self, request: wire.ExecRequest) -> Execution:
        session = await self._connected("exec", may_start=True)
        execution = Execution(session, request.execution_id, tty=request.tty)
        try:
            await execution.begin(request)
        except BaseException as error:
            await execution.close()
            if isinstance(error, asyncio.CancelledError):
                await running.end_execution(execution)  # it may run by now
            raise
        return execution

    async def main(self) -> Execution:
        """The main command of the box, which must run; what it printed last (256 KiB a stream) comes first."""
        session = await self._connected("attach", may_start=False)
        end = functools.partial(running.recorded_end, self._context, self.record)
        execution = Execution(session, MAIN_EXECUTION, tty=self.record.spec.tty, recorded_end=end)
        execution.attach(keep=True)
        return execution

    @contextlib.asynccontextmanager
    async def files(self, operation: str) -> AsyncIterator[GuestSession]:
        """A connection for work on the box's files. A job box that does not run is woken for it, without its command; any
        other one is started."""
        record = await self._look()
        async with contextlib.AsyncExitStack() as stack:
            session: GuestSession | None = None
            if not record.status.is_active and (record.spec.is_job or not record.spec.auto_resume):
                try:
                    session = await stack.enter_async_context(files_of_box(self._context, record))
                except InvalidStateError:  # started by somebody while we waited for our turn
                    if not (await self._look()).status.is_active:
                        raise
            if session is None:
                session = await self._connected(operation, may_start=True)
            try:
                yield session
            except RpcTransportError:
                self._session = None
                raise

    async def ping(self) -> float:
        """Ask the agent for a sign of life; the milliseconds it took. Raises InvalidStateError for a box that does not
        run, RpcTransportError or DeadlineError when nothing answers."""
        session = await self._connected("ping", may_start=False)
        begun = time.monotonic()
        try:
            await ping(session)
        except BoxliteError as error:
            raise await self.explain(error, "ping") from error
        return (time.monotonic() - begun) * 1000

    async def tunnel(self, port: int) -> Flow:
        """Connect to a TCP port of the box, which must run. Raises NotFoundError when nothing listens there."""
        from engine.portal.tunnels import open_tunnel

        session = await self._connected("tunnel", may_start=False)
        try:
            return await open_tunnel(session, port)
        except BoxliteError as error:
            raise await self.explain(error, "tunnel") from error

    async def explain(self, error: BoxliteError, operation: str) -> BoxliteError:
        """The error with the box's name, and in place of a lost connection the reason why it was lost."""
        if isinstance(error, RpcTransportError):
            error = await running.explain_loss(self._context, self.record, error)
        return error.at(box=self.record.name, operation=operation)

    async def close(self) -> None:
        """Let go of the box: one that was started here and is not detached ends."""
        async with self._turn:
            await self._disconnect()

    # ------------------------------------------------------------ the connection

    async def _look(self) -> BoxRecord:
        """The box as it is now. A connection to an earlier run of it is given up."""
        seen, self.record = self.record, await get_box(self._context, self.record.id)
        if self._session is not None and (
            not self.record.status.is_active
            or (self.record.state.pid, self.record.state.pid_start) != (seen.state.pid, seen.state.pid_start)
        ):
            await self._disconnect()
        return self.record

    async def _connected(self, operation: str, *, may_start: bool) -> GuestSession:
        async with self._turn:
            record = await self._look()
            if record.status is BoxStatus.PAUSED:
                raise self._refusal(f"boxlite unpause {record.name}", operation)
            if self._session is not None:
                return self._session
            if not record.status.is_active:
                if not (may_start and self._may_start(record)):
                    raise self._refusal(f"start it yourself: boxlite start {record.name}", operation)
                return await self._start(record)
            return await self._join()

    @staticmethod
    def _may_start(record: BoxRecord) -> bool:
        """The command of a job box is never run twice without being asked."""
        return record.status is BoxStatus.CONFIGURED or not (
            record.spec.is_job or not record.spec.auto_resume
        )

    def _refusal(self, hint: str, operation: str) -> InvalidStateError:
        return InvalidStateError(
            f"it is {self.record.status}", hint=hint, box=self.record.name, operation=operation
        )

    async def _start(self, record: BoxRecord) -> GuestSession:
        try:
            started = await self._hold(
                started_box(self._context, record, attached=False, held=not record.spec.detach)
            )
        except InvalidStateError:
            self.record = await get_box(self._context, record.id)
            if not self.record.status.is_running:
                raise
            return await self._join()  # somebody else was faster
        self.record, self._session = started.record, started.session
        return self._session

    async def _join(self) -> GuestSession:
        try:
            self._session = await self._hold(
                open_session(
                    self._context.layout.box(self.record.id).sockets_dir,
                    on_wait=lambda: running.tell_waiting(self._context, self.record),
                )
            )
        except BoxliteError as error:
            raise await self.explain(error, "connect") from error
        return self._session

    async def _disconnect(self) -> None:
        self._session = None
        holders, self._holders = self._holders, []
        self._let_go.set()
        self._let_go = asyncio.Event()
        await asyncio.gather(*holders, return_exceptions=True)

    async def _hold(self, connection: contextlib.AbstractAsyncContextManager[T]) -> T:
        """Keep a connection open in a task of its own: one that ends with the event loop ends it in good order."""
        entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        holder = asyncio.create_task(_hold_open(connection, entered, self._let_go))
        try:
            await asyncio.wait((holder, entered), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            holder.cancel()
            await asyncio.wait((holder,))
            raise
        if not entered.done():
            holder.result()
        self._holders.append(holder)
        return entered.result()


async def _hold_open(
    connection: contextlib.AbstractAsyncContextManager[T], entered: asyncio.Future[T], let_go: asyncio.Event
) -> None:
    async with connection as value:
        entered.set_result(value)
        await let_go.wait()
