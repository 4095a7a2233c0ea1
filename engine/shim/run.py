"""One run of a box's machine: from its launch to the end of its last process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cappedfile import CappedFile
from engine.errors import BoxliteError, DeadlineError, EngineError, InvalidStateError
from engine.layout import BoxLayout, Layout
from engine.net.passt import Network
from engine.net.restricted import RestrictedNetwork
from engine.shim.gateway_jail import claim_gateway_identity, gateway_jail, make_place_for_log
from engine.shim.glances import Glances
from engine.shim.headstart import HeadStart, ReadyMachine, note_machine
from engine.shim.outputlog import CONSOLE_CAP_BYTES, OutputLog
from engine.shim.plan import LaunchPlan, NetworkGrant
from engine.shim.usual import CARD, NONE, PORT
from engine.values import dataclass
from engine.vmm.channels import chunks, events
from engine.vmm.leftovers import paths_of_machine
from engine.vmm.machine import Machine, start_machine
from engine.vmm.monitor import Monitor, open_monitor
from engine.vmm.restore import wait_restored
from engine.vmm.template import BOOT_TIMEOUT_S
from guest.wire.constants import LANES, PORTAL_PORTS

if TYPE_CHECKING:
    from engine.jailer.cgroups import Group
    from engine.net.gvproxy import GvproxyNetwork

    AnyNetwork = Network | GvproxyNetwork | RestrictedNetwork

HALT_TIMEOUT_S = 60.0
"""How long the agent may take to write the disk back after the main command's end."""
SETTLED_S = 0.5
"""How long after the launch control groups are set up: moving a process into one may stop it for some milliseconds."""
STOP_MARGIN_S = 5.0
"""How long past a stop's grace the machine may take before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended. `exit_code` None: the machine was gone before the main command's end was known."""

    exit_code: int | None = None
    oom_killed: bool = False
    reason: str = ""
    failed: bool = False


class Run:
    """The processes of one run and what they say. `launch`, then `over`, then `clean_up`."""

    def __init__(
        self,
        plan: LaunchPlan,
        box: BoxLayout,
        *,
        on_activity: Callable[[], None],
        on_ending: Callable[[], None] = lambda: None,
        on_full_disk: Callable[[], None] = lambda: None,
        on_denial: Callable[[dict[str, str]], None] = lambda _: None,
    ) -> None:
        """`on_ending` is called when the main command has ended, whose disk is then still to be written; `on_full_disk` when
        QEMU has halted the machine because a write to its disk found no space on the host. Nothing is lost by that: the
        write is done again when the machine continues."""
        self._plan = plan
        self._box = box
        self._on_activity = on_activity
        self._on_ending = on_ending
        self._on_full_disk = on_full_disk
        self._on_denial = on_denial
        loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[dict[str, object]] = loop.create_future()
        self._over: asyncio.Future[str] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._stop_reason: str | None = None
        self._machine: Machine | None = None
        self._network: AnyNetwork | None = None
        self._monitor: Monitor | None = None
        self._resources = contextlib.AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._group: Group | None = None
        self.glances = Glances(self.tell_agent)

    @property
    def pid(self) -> int | None:
        return None if self._machine is None else self._machine.pid

    @property
    def _link(self) -> str:
        if self._plan.network is None:
            return NONE
        return CARD if self._plan.network.restriction is None else PORT

    async def launch(self, head_start: HeadStart | None = None) -> None:
        """Start the network process and the machine, or take the machine that has a head start, and give it its disk.
        Raises what they raise; `clean_up` is due in any case."""
        ready = None
        if head_start is not None:
            ready = await head_start.claim(self._plan.vm, self._plan.security, self._box, self._link)
        if ready is None:
            await self._start_anew()
        else:
            await self._take_over(ready)
        monitor = await self._monitor_of_machine()
        self._spawn(self._follow_monitor(monitor))
        self._spawn(self._limit_further())
        await monitor.attach_disk(self._plan.vm)
        if self._plan.vm.template is not None:
            self._spawn(self._announce_disk_size(monitor))
        else:
            await monitor.execute("cont")
            await self._until_ready()

    async def _take_over(self, ready: ReadyMachine) -> None:
        self._machine, self._monitor = ready.machine, ready.monitor
        await self._resources.enter_async_context(ready.resources)
        self._follow(ready.machine)
        if ready.network is not None:
            await self._open_network(ready.network)

    async def _start_anew(self) -> None:
        machine_end = None
        if self._link != NONE:
            machine_end, far_end = socket.socketpair()
            await self._open_network(far_end)
        self._machine = await start_machine(
            self._plan.vm,
            portals=[self._box.portal_socket(number) for number in range(PORTAL_PORTS)],
            lanes=[self._box.lane_socket(number) for number in range(LANES)],
            security=self._plan.security,
            log_path=self._box.qemu_log,
            home=Path(self._plan.home),
            network=machine_end if self._link == CARD else None,
            gateway=machine_end if self._link == PORT else None,
        )
        self._follow(self._machine)
        if self._plan.vm.template is not None:
            await wait_restored(self._machine.channels.restore)
            layout = Layout(Path(self._plan.home))
            self._spawn(
                asyncio.to_thread(note_machine, layout, self._plan.vm, self._plan.security, self._machine)
            )

    async def _open_network(self, far_end: socket.socket) -> None:
        grant = self._plan.network
        assert grant is not None
        self._network = self._make_network(grant, far_end)
        await self._network.open()
        self._spawn(self._watch_network(self._network))

    def _follow(self, machine: Machine) -> None:
        self._spawn(self._write_console(machine))
        self._spawn(self._write_output(machine))
        self._spawn(self._follow_events(machine))
        self._spawn(self._watch_machine(machine))

    async def _limit_further(self) -> None:
        """Once the box runs: control groups, and a record of how the machine is confined. Takes no time of the start; a
        box that is gone by then needs neither."""
        await asyncio.sleep(SETTLED_S)
        from engine.shim.confinement import limit_further

        if self._machine is not None:
            self._group = await limit_further(self._machine, self._plan, self._box)

    def _make_network(self, grant: NetworkGrant, far_end: socket.socket) -> AnyNetwork:
        log_path = self._box.logs_dir / "network.log"
        if grant.gvproxy is not None:
            from engine.net.gvproxy import GvproxyNetwork

            return GvproxyNetwork(
                far_end,
                grant.ports,
                binary=grant.gvproxy,
                directory=self._box.gvproxy_dir,
                resolver_file=grant.resolver_file,
                log_path=log_path,
                home=Path(self._plan.home),
                jail_enabled=self._plan.security.jailer_enabled,
            )
        if grant.restriction is None:
            return Network(
                far_end,
                grant.ports,
                host_access=grant.host_access,
                resolver_file=grant.resolver_file,
                ipv6=grant.ipv6,
                log_path=log_path,
                home=Path(self._plan.home),
                jail_enabled=self._plan.security.jailer_enabled,
            )
        ca_file = None if self._plan.secrets is None else self._plan.secrets.ca_file
        enabled = self._plan.security.jailer_enabled
        claim = claim_gateway_identity(enabled=enabled, ca_file=ca_file)
        identity = None if claim is None else claim.identity
        make_place_for_log(self._box, identity)
        return RestrictedNetwork(
            far_end,
            grant.restriction,
            grant.ports,
            box_name=self._plan.box_name,
            log_path=self._box.connections_log,
            own_log_path=log_path,
            on_denial=self._on_denial,
            secrets=self._plan.secrets,
            jail=gateway_jail(self._box, enabled=enabled, ca_file=ca_file, identity=identity),
            claim=claim,
            home=Path(self._plan.home),
        )

    async def network_counts(self) -> dict[str, object]:
        """What a restricted box sent and received. Raises InvalidStateError for one that is not."""
        if not isinstance(self._network, RestrictedNetwork):
            raise InvalidStateError("its network is not restricted")
        return await self._network.counts()

    async def _until_ready(self) -> None:
        """Until the agent of a machine that boots cold listens, or the machine is gone. Raises DeadlineError."""
        timeout_s = BOOT_TIMEOUT_S[self._plan.vm.shape.accel]
        done, _ = await asyncio.wait(
            (self._ready, self._over), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise DeadlineError(f"the machine's agent was not ready within {timeout_s:g} s of its start")

    async def over(self) -> Ending:
        """Wait for the end of the run."""
        cause = await asyncio.shield(self._over)
        if not self._exited.done():
            return Ending(reason=self._stop_reason or cause, failed=self._stop_reason is None)
        event = self._exited.result()
        code = event.get("exit_code")
        return Ending(
            exit_code=code if type(code) is int and 0 <= code <= 255 else 255,
            oom_killed=event.get("oom_killed") is True,
            reason=self._stop_reason or "the main command ended",
        )

    async def clean_up(self) -> None:
        """Kill and reap whatever is left, and remove the sockets."""
        died = self._machine is not None and self._machine.process.returncode is not None
        if self._machine is not None:
            self._machine.kill_now()
        await asyncio.gather(self._end_machine(by_itself=died), self._end_network())
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for number in range(PORTAL_PORTS):
            self._box.portal_socket(number).unlink(missing_ok=True)
        for number in range(LANES):
            self._box.lane_socket(number).unlink(missing_ok=True)
        if self._group is not None:
            await self._group.remove()

    async def _end_machine(self, *, by_itself: bool) -> None:
        await self._resources.aclose()
        if self._machine is not None:
            may_live_on = self._monitor is None or by_itself  # without its jail: see engine.vmm.leftovers
            await self._machine.kill(leftovers=paths_of_machine(self._box) if may_live_on else ())

    async def _end_network(self) -> None:
        if self._network is not None:
            await self._network.close()

    # ------------------------------------------------------------ orders

    def begin_stop(self, reason: str, *, signum: int, grace_s: float) -> None:
        """Ask the main command to end, with SIGKILL after the grace. The first reason given is recorded."""
        self._stop_reason = self._stop_reason or reason
        self.tell_agent({"op": "stop", "signal": signum, "grace_ms": int(grace_s * 1000)})
        asyncio.get_running_loop().call_later(grace_s + STOP_MARGIN_S, self._end, "it did not stop in time")

    def abort(self, reason: str, exit_code: int | None) -> None:
        """End it now: it was never a box. `exit_code` is what is recorded, None: that of a killed one."""
        if not self._over.done():
            self._stop_reason = reason
        if not self._exited.done() and exit_code is not None:
            self._exited.set_result({"event": "exit", "exit_code": exit_code})
        self._end(reason)

    def tell_agent(self, order: Mapping[str, object]) -> None:
        """Send one line to the agent's events port. An agent that does not read is dealt with by the deadline."""
        if self._machine is not None:
            with contextlib.suppress(OSError):
                self._machine.channels.events.send(json.dumps(order).encode() + b"\n")

    async def monitor_command(self, command: str) -> None:
        """Send one command to QEMU's monitor."""
        await (await self._monitor_of_machine()).execute(command)

    async def _monitor_of_machine(self) -> Monitor:
        assert self._machine is not None
        if self._monitor is None:
            self._monitor = await self._resources.enter_async_context(
                open_monitor(self._machine.channels.qmp)
            )
        return self._monitor

    async def _announce_disk_size(self, monitor: Monitor) -> None:
        """Once the box runs: it takes the guest some work, and a box that does not know is none the worse."""
        await asyncio.sleep(SETTLED_S)
        with contextlib.suppress(EngineError):
            await monitor.announce_disk_size(self._plan.vm.disk_size_bytes)

    # ------------------------------------------------------------ what is followed

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _end(self, cause: str) -> None:
        if not self._over.done():
            self._over.set_result(cause)

    async def _write_console(self, machine: Machine) -> None:
        with contextlib.closing(CappedFile(self._box.console_log, cap_bytes=CONSOLE_CAP_BYTES)) as log:
            async for chunk in chunks(machine.channels.console):
                with contextlib.suppress(OSError):  # a full disk costs the log, not the box
                    log.write(chunk)

    async def _write_output(self, machine: Machine) -> None:
        with contextlib.closing(OutputLog(self._box.output_log)) as log:
            async for chunk in chunks(machine.channels.output):
                with contextlib.suppress(OSError):
                    log.feed(chunk)

    async def _follow_events(self, machine: Machine) -> None:
        async for event in events(machine.channels.events):
            match event["event"]:
                case "ready" if not self._ready.done():
                    self._ready.set_result(None)
                case "exit" if not self._exited.done():
                    self._exited.set_result(event)
                    self._on_ending()
                    asyncio.get_running_loop().call_later(
                        HALT_TIMEOUT_S, self._end, "its disk was not written back in time"
                    )
                case "halted":
                    self._end("halted")
                case "activity":
                    self._on_activity()
                case "names":
                    self.glances.take(event)

    async def _follow_monitor(self, monitor: Monitor) -> None:
        """BLOCK_IO_ERROR with the action "stop" is a full disk: other errors are reported to the guest (qemu(1),
        `werror=enospc`)."""
        async for event in monitor.events():
            match event:
                case {"event": "BLOCK_IO_ERROR", "data": {"action": "stop"}}:
                    self._on_full_disk()

    async def _watch_machine(self, machine: Machine) -> None:
        status = await machine.process.wait()
        await asyncio.sleep(0)  # its last events may be waiting in the channel
        self._end(f"the machine ended unexpectedly (status {status})")

    async def _watch_network(self, network: AnyNetwork) -> None:
        try:
            status = await network.run()
        except BoxliteError as error:
            print(f"the box has no network: {error}", file=sys.stderr, flush=True)
            return
        if status is not None and not self._over.done():
            print(f"the network process ended with status {status}", file=sys.stderr, flush=True)
