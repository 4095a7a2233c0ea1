"""boxlite.v1.Execution: commands in the container, their streams and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from guest.container import Container
from guest.errors import GuestError
from guest.execution import Execution
from guest.lanes import Lanes
from guest.requests import ExecutionRequest
from guest.services.calls import streaming, unary
from guest.services.outlet import Outlet
from guest.services.requests import exit_status
from guest.sessions import Sessions
from guest.wire import portal_pb2 as pb
from guest.wire.constants import MAIN_EXECUTION, RUNS_METADATA

_SERVICE = "/boxlite.v1.Execution/"
_ON_ITS_WAY_S = 30.0
"""How long a call waits for the execution it names: calls of one client may overtake one another. The main command comes
when the machine has been made a box, however long that takes: who waits for it waits for the call that does so."""

_MAX_SIGNAL = 64
_HEARTBEAT_S = 1.0


class ExecutionService:
    """`activity` is told of everything a person or program does with the box."""

    def __init__(
        self, container: Container, sessions: Sessions, lanes: Lanes, activity: Callable[[], None]
    ) -> None:
        self._container = container
        self._sessions = sessions
        self._lanes = lanes
        self._activity = activity
        self._heartbeat: asyncio.TimerHandle | None = None

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"{_SERVICE}Exec": unary(self.exec, pb.ExecRequest, pb.ExecReply),
            f"{_SERVICE}Run": streaming(self.run, Cardinality.UNARY_STREAM, pb.RunRequest, pb.Output),
            f"{_SERVICE}Attach": streaming(
                self.attach, Cardinality.UNARY_STREAM, pb.AttachRequest, pb.Output
            ),
            f"{_SERVICE}SendInput": streaming(
                self.send_input, Cardinality.STREAM_UNARY, pb.Input, pb.InputReply
            ),
            f"{_SERVICE}Wait": unary(self.wait, pb.WaitRequest, pb.WaitReply),
            f"{_SERVICE}Kill": unary(self.kill, pb.KillRequest, pb.KillReply),
            f"{_SERVICE}ResizeTty": unary(self.resize, pb.ResizeRequest, pb.ResizeReply),
            f"{_SERVICE}List": unary(self.list, pb.ListRequest, pb.ListReply),
        }

    async def exec(self, request: pb.ExecRequest) -> pb.ExecReply:
        execution = await self._begin(request)
        return pb.ExecReply(pid=execution.pid)

    async def _begin(self, request: pb.ExecRequest) -> Execution:
        if not request.background:
            self._activity()
        if not request.execution_id or not request.argv:
            raise GuestError("invalid_argument", "an execution needs an id and a command")
        wanted = ExecutionRequest(
            execution_id=request.execution_id,
            argv=tuple(request.argv),
            env=tuple(request.env),
            working_dir=request.working_dir,
            user=request.user,
            tty=request.tty,
            stdin=request.stdin,
            rows=request.size.rows,
            cols=request.size.cols,
            timeout_s=request.timeout_ms / 1000,
            privileged=request.privileged,
            detach=request.detach,
            background=request.background,
        )
        try:
            # A client that goes away now must not leave half a command. Most are started without having to wait for anything.
            starting = _at_once(self._container.execute(wanted))
            execution = starting.result() if starting.done() else await asyncio.shield(starting)
        except GuestError as error:
            self._sessions.refuse(request.execution_id, error)
            raise
        if not execution.background:
            self._report_while_running(execution)
        return execution

    def _report_while_running(self, execution: Execution) -> None:
        """A box in which a command of exec runs is in use, however quiet it is."""
        execution.ending.add_done_callback(lambda _: self._activity())
        if self._heartbeat is None:
            self._beat()

    def _beat(self) -> None:
        self._heartbeat = None
        if any(
            one.running and one.id != MAIN_EXECUTION and not one.background
            for one in reversed(self._sessions.all())  # the last ones are the likeliest to run
        ):
            self._activity()
            self._heartbeat = asyncio.get_running_loop().call_later(_HEARTBEAT_S, self._beat)

    async def attach(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        if request is None:
            return
        execution = await self._execution(request.execution_id)
        # The client learns at once that it is attached, also when nothing is ever printed.
        await stream.send_initial_metadata()
        await self._follow(stream, execution, (request.stdout_offset, request.stderr_offset), request.lane)

    async def run(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        if request is None:
            return
        execution = await self._begin(request.command)
        await stream.send_initial_metadata(metadata={RUNS_METADATA: "1"})
        await self._follow(stream, execution, (0, 0), request.lane)

    async def _follow(
        self, stream: Stream[Any, Any], execution: Execution, offsets: tuple[int, int], ticket: bytes
    ) -> None:
        """Send both outputs from these offsets on, then the end."""
        woken = asyncio.Event()
        readers = [
            output.attach(offset, woken) for output, offset in zip(execution.outputs, offsets, strict=True)
        ]
        outlet = Outlet(stream, lambda: self._lanes.find(ticket), execution.ending, woken)
        execution.join(woken)
        try:
            await outlet.forward(readers)
        finally:
            for reader in readers:
                reader.close()
            outlet.close()
            execution.leave(woken)

    async def send_input(self, stream: Stream[Any, Any]) -> None:
        execution: Execution | None = None
        accepted = 0
        close_at_end = False
        async for message in stream:
            if execution is None:
                execution = await self._execution(message.execution_id)
            close_at_end = close_at_end or message.close_at_end
            if message.data:
                self._activity()
                await execution.write(message.data)
                accepted += len(message.data)
            if message.lane:
                accepted += await self._input_from_lane(message.lane, execution)
        if execution is None:
            raise GuestError("invalid_argument", "the first message must name an execution")
        if close_at_end:
            await execution.close_stdin()
        await stream.send_message(pb.InputReply(accepted_bytes=accepted))

    async def _input_from_lane(self, ticket: bytes, execution: Execution) -> int:
        accepted = 0
        async with self._lanes.taken(ticket) as lane:
            async for parts in lane.receive():
                self._activity()
                await execution.write(*parts)
                accepted += sum(len(part) for part in parts)
        return accepted

    async def wait(self, request: pb.WaitRequest) -> pb.WaitReply:
        execution = await self._execution(request.execution_id)
        ending = await asyncio.shield(execution.ending)
        return pb.WaitReply(status=exit_status(ending), duration_ms=execution.duration_ms)

    async def kill(self, request: pb.KillRequest) -> pb.KillReply:
        self._activity()
        if not 0 < request.signal <= _MAX_SIGNAL:
            raise GuestError("invalid_argument", f"there is no signal {request.signal}")
        self._sessions.get(request.execution_id).signal(request.signal, everyone=request.all)
        return pb.KillReply()

    async def resize(self, request: pb.ResizeRequest) -> pb.ResizeReply:
        execution = await self._execution(request.execution_id)
        execution.resize(request.size.rows, request.size.cols)
        return pb.ResizeReply()

    async def list(self, _: pb.ListRequest) -> pb.ListReply:
        return pb.ListReply(sessions=[_session(execution) for execution in self._sessions.all()])

    async def _execution(self, execution_id: str) -> Execution:
        timeout_s = None if execution_id == MAIN_EXECUTION else _ON_ITS_WAY_S
        return await self._sessions.wait_for(execution_id, timeout_s=timeout_s)


def _at_once(work: Coroutine[Any, Any, Execution]) -> asyncio.Task[Execution]:
    """A task that goes as far as it can before anything else runs."""
    return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)  # type: ignore[call-arg]  # Python 3.12


def _session(execution: Execution) -> pb.Session:
    return pb.Session(
        execution_id=execution.id,
        argv=execution.argv,
        running=execution.running,
        tty=execution.tty,
        stdin=execution.wants_stdin,
        attached=execution.attached,
        pid=execution.pid,
        started_ns=execution.started_ns,
        status=None if execution.running else exit_status(execution.ending.result()),
        processes=len(execution.cgroup.processes()) if execution.running else 0,
    )
