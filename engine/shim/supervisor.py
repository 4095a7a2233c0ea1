"""Runs one box from its plan to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BoxliteError
from engine.layout import BoxLayout, Layout
from engine.net.passt import start_passt
from engine.process import terminate
from engine.shim.control import ControlServer
from engine.shim.lifeline import MESSAGE_HEADER
from engine.shim.outputlog import CappedFile, OutputLog
from engine.shim.plan import LaunchPlan, Verdict
from engine.vmm.channels import chunks, events
from engine.vmm.machine import Machine, start_machine
from engine.vmm.monitor import Monitor, open_monitor
from guest.wire.constants import PORTAL_PORTS

HALT_TIMEOUT_S = 60.0
"""How long the agent may take to write the disk back after the main command's end."""
STOP_MARGIN_S = 5.0
"""How long past a stop's grace the machine may take before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a box ended. `exit_code` None: the machine was gone before the main command's end was known."""

    exit_code: int | None = None
    oom_killed: bool = False
    reason: str = ""
    failed: bool = False


class Supervisor:
    """Owns the processes of one box. `run` returns when nothing of it is left."""

    def __init__(self, plan: LaunchPlan, lifeline: socket.socket) -> None:
        self.plan = plan
        self.layout = Layout(Path(plan.home))
        self.box: BoxLayout = self.layout.box(plan.box_id)
        self._lifeline = lifeline
        self._lifeline.setblocking(False)
        self._stop_reason: str | None = None
        self._exited: asyncio.Future[dict[str, object]]
        self._over: asyncio.Future[str]
        self.machine: Machine
        self._network: asyncio.subprocess.Process | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._monitor: Monitor | None = None
        self._resources = contextlib.AsyncExitStack()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._exited, self._over = loop.create_future(), loop.create_future()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self.begin_stop, "its shim was told to end")
        try:
            await self._launch()
        except BoxliteError as error:
            self._say({"error": error.message, "hint": error.hint or ""})
            await self._clean_up()
            await self._record(Ending(reason=error.message, failed=True))
            return
        self._say({"machine": self.machine.pid})
        ending = await self._supervise()
        await self._clean_up()
        await self._record(ending)
        self._say({"exit_code": ending.exit_code, "reason": ending.reason})

    async def _launch(self) -> None:
        network_end = None
        grant = self.plan.network
        if grant is not None:
            self._network, network_end = await start_passt(
                grant.ports,
                host_access=grant.host_access,
                resolver=grant.resolver,
                log_path=self.box.logs_dir / "network.log",
            )
        self.machine = await start_machine(
            self.plan.vm,
            portals=[self.box.portal_socket(number) for number in range(PORTAL_PORTS)],
            security=self.plan.security,
            log_path=self.box.qemu_log,
            network=network_end,
        )
        if self.plan.vm.template is not None:
            await (await self._monitor_of_machine()).restore(self.plan.vm.template.state_path)

    async def _supervise(self) -> Ending:
        control = ControlServer(self)
        self._spawn(control.serve())
        self._spawn(self._write_console())
        self._spawn(self._write_output())
        self._spawn(self._follow_events())
        self._spawn(self._follow_lifeline())
        if self._network is not None:
            self._spawn(self._watch_network(self._network))
        self._spawn(self._watch_machine())
        cause = await self._over
        return self._ending(cause)

    def _ending(self, cause: str) -> Ending:
        if not self._exited.done():
            return Ending(reason=self._stop_reason or cause, failed=self._stop_reason is None)
        event = self._exited.result()
        code = event.get("exit_code")
        return Ending(
            exit_code=code if isinstance(code, int) and 0 <= code <= 255 else 255,
            oom_killed=event.get("oom_killed") is True,
            reason=self._stop_reason or "the main command ended",
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _end(self, cause: str) -> None:
        if not self._over.done():
            self._over.set_result(cause)

    # ------------------------------------------------------------ what is followed

    async def _write_console(self) -> None:
        log = CappedFile(self.box.console_log)
        with contextlib.closing(log):
            async for chunk in chunks(self.machine.channels.console):
                with contextlib.suppress(OSError):  # a full disk costs the log, not the box
                    log.write(chunk)

    async def _write_output(self) -> None:
        log = OutputLog(self.box.output_log)
        with contextlib.closing(log):
            async for chunk in chunks(self.machine.channels.output):
                with contextlib.suppress(OSError):
                    log.feed(chunk)

    async def _follow_events(self) -> None:
        async for event in events(self.machine.channels.events):
            match event["event"]:
                case "exit" if not self._exited.done():
                    self._exited.set_result(event)
                    asyncio.get_running_loop().call_later(
                        HALT_TIMEOUT_S, self._end, "its disk was not written back in time"
                    )
                case "halted":
                    self._end("halted")

    async def _follow_lifeline(self) -> None:
        """Wait for the starter's verdict, then for its end."""
        reader, writer = await asyncio.open_unix_connection(sock=self._lifeline.dup())
        verdict: Verdict | None = None
        with contextlib.closing(writer):
            try:
                (length,) = MESSAGE_HEADER.unpack(await reader.readexactly(MESSAGE_HEADER.size))
                verdict = pickle.loads(await reader.readexactly(length))  # noqa: S301  from our own parent
            except (asyncio.IncompleteReadError, OSError):
                verdict = Verdict(failure="the command that was starting it ended")
            assert verdict is not None
            if verdict.failure is not None:
                self._abort(verdict)
            elif self.plan.attached:
                with contextlib.suppress(OSError):
                    await reader.read()
                self.begin_stop("the command it was attached to ended")

    def _abort(self, verdict: Verdict) -> None:
        if not self._over.done():
            self._stop_reason = verdict.failure
        if not self._exited.done() and verdict.exit_code is not None:
            self._exited.set_result({"event": "exit", "exit_code": verdict.exit_code})
        self._end(verdict.failure or "")

    async def _watch_machine(self) -> None:
        status = await self.machine.process.wait()
        await asyncio.sleep(0)  # its last events may be waiting in the channel
        self._end(f"the machine ended unexpectedly (status {status})")

    async def _watch_network(self, network: asyncio.subprocess.Process) -> None:
        await network.wait()
        print("the network process ended", file=sys.stderr, flush=True)

    # ------------------------------------------------------------ what can be asked

    def begin_stop(self, reason: str, *, signum: int | None = None, grace_s: float | None = None) -> None:
        """Ask the main command to end, with SIGKILL after the grace. The first reason given is recorded."""
        grace = self.plan.stop_timeout_s if grace_s is None else grace_s
        self._stop_reason = self._stop_reason or reason
        self.tell_agent(
            {"op": "stop", "signal": signum or self.plan.stop_signal, "grace_ms": int(grace * 1000)}
        )
        asyncio.get_running_loop().call_later(grace + STOP_MARGIN_S, self._end, "it did not stop in time")

    def tell_agent(self, order: dict[str, object]) -> None:
        """Send one line to the agent's events port. An agent that does not read is dealt with by the deadline."""
        with contextlib.suppress(OSError):
            self.machine.channels.events.send(json.dumps(order).encode() + b"\n")

    async def monitor_command(self, command: str) -> None:
        """Send one command to QEMU's monitor."""
        await (await self._monitor_of_machine()).execute(command)

    async def _monitor_of_machine(self) -> Monitor:
        if self._monitor is None:
            self._monitor = await self._resources.enter_async_context(open_monitor(self.machine.channels.qmp))
        return self._monitor

    def _say(self, answer: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            self._lifeline.send(json.dumps(answer).encode() + b"\n")

    # ------------------------------------------------------------ the end

    async def _clean_up(self) -> None:
        if hasattr(self, "machine"):
            await self.machine.kill()
        if self._network is not None:
            await terminate(self._network, grace_s=0.5)
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._resources.aclose()
        for entry in os.scandir(self.box.sockets_dir):
            if entry.name.endswith(".sock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)

    async def _record(self, ending: Ending) -> None:
        from engine.shim.record import record_ending  # the database is needed now and not before

        await record_ending(self.layout, self.plan, ending)
