"""The agent put together: ports, services, events and output."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grpclib.config import Configuration

from guest.cgroups import limit_box, main_group, setup_cgroups
from guest.container import Container
from guest.device_filter import DeviceFilter
from guest.egress import Egress, NetworkPort
from guest.glance import Glances
from guest.http2 import PortalServer
from guest.interface import Interface
from guest.lanes import Lane, Lanes
from guest.orders import Orders
from guest.ports import Port as SerialPort
from guest.ports import PortalPort, PortPoller, find_ports
from guest.preparing import make_identity_dir
from guest.reaper import Reaper
from guest.services.container import ContainerService
from guest.services.execution import ExecutionService
from guest.services.files import FilesService
from guest.services.guest import GuestService
from guest.services.tunnels import TunnelsService
from guest.sessions import Sessions
from guest.warmup import WarmUp
from guest.wire.constants import (
    EVENTS_PORT_NAME,
    LANE_PORT_NAME,
    LANES,
    MAIN_EXECUTION,
    MAX_EVENT_BYTES,
    OUTPUT_FRAME_BYTES,
    OUTPUT_HEADER,
    OUTPUT_PORT_NAME,
    PORTAL_PORT_NAME,
    PORTAL_PORTS,
)
from guest.wire.flows import NETWORK_PORT_NAME

WORK_DIR = Path("/run/box")
_OUTPUT_QUEUE_BYTES = 1 << 20
_ACTIVITY_INTERVAL_S = 1.0
_WINDOW_BYTES = 4 << 20


class EventPort(SerialPort):
    """The port on which the agent tells the shim what happens, and the shim gives orders."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.on_order: Callable[[dict[str, Any]], None] | None = None
        self._pending = b""
        self._last_activity = float("-inf")

    def on_event(self, events: int) -> None:
        super().on_event(events)
        while self.on_order is not None and (chunk := self.read()):
            *lines, self._pending = (self._pending + chunk).split(b"\n")
            for line in lines:
                self.on_order(json.loads(line))

    def send(self, event: dict[str, Any]) -> None:
        line = json.dumps(event).encode()[: MAX_EVENT_BYTES - 1] + b"\n"
        self.write(line)

    def activity(self) -> None:
        now = time.monotonic()
        if now - self._last_activity >= _ACTIVITY_INTERVAL_S:
            self._last_activity = now
            self.send({"event": "activity"})


class OutputPort(SerialPort):
    """The port that carries the main command's output as frames, for the log."""

    def __init__(self, fd: int, sessions: Sessions) -> None:
        super().__init__(fd)
        self._sessions = sessions
        self._held_back = False

    def send(self, stream: int, data: bytes) -> bool:
        """Queue output; False when the host is too far behind and the command has to wait."""
        for start in range(0, len(data), OUTPUT_FRAME_BYTES):
            part = data[start : start + OUTPUT_FRAME_BYTES]
            self.write(OUTPUT_HEADER.pack(stream, len(part)) + part)
        self._held_back = self.queued_bytes >= _OUTPUT_QUEUE_BYTES
        return not self._held_back

    def on_flushed(self) -> None:
        if self._held_back and self.queued_bytes < _OUTPUT_QUEUE_BYTES // 2:
            self._held_back = False
            main = self._sessions.find(MAIN_EXECUTION)
            if main is not None:
                main.resume()


async def serve(work_dir: Path = WORK_DIR) -> None:
    """Serve the portal for the rest of the machine's life."""
    loop = asyncio.get_running_loop()
    work_dir.mkdir(exist_ok=True, mode=0o700)
    make_identity_dir(work_dir)
    _, box = setup_cgroups()
    reaper = Reaper()
    reaper.install(loop)
    sessions = Sessions()
    paths = find_ports()
    events = EventPort(os.open(paths[EVENTS_PORT_NAME], os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
    output = OutputPort(os.open(paths[OUTPUT_PORT_NAME], os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK), sessions)
    devices = DeviceFilter(box)
    devices.attach()
    container = Container(
        reaper=reaper, sessions=sessions, cgroup=box, work_dir=work_dir, notify=events.send, on_output=output.send,
        devices=devices,
    )  # fmt: skip
    poller = PortPoller(loop)
    network = NetworkPort(os.open(paths[NETWORK_PORT_NAME], os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK), poller)
    interface = Interface()
    guest = GuestService(container, Egress(network), interface)
    lanes = Lanes()
    server = PortalServer(
        [
            guest,
            ContainerService(container, guest),
            ExecutionService(container, sessions, lanes, events.activity),
            FilesService(container, reaper, lanes, events.activity),
            TunnelsService(events.activity),
        ],
        config=Configuration(
            _keepalive_time=None,
            http2_connection_window_size=_WINDOW_BYTES,
            http2_stream_window_size=_WINDOW_BYTES,
        ),
    )
    portals: list[PortalPort] = []
    warm_up = WarmUp(
        server.new_connection,
        reaper,
        main_group(box),
        is_wanted=lambda: any(port.is_taken for port in portals),
    )
    events.on_order = Orders(container, warm_up, Glances(container, reaper, events.send)).obey
    poller.register(events)
    poller.register(output)
    poller.register(network)
    for number in range(PORTAL_PORTS):
        device = os.open(paths[PORTAL_PORT_NAME.format(number)], os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        portals.append(PortalPort(device, server.new_connection))
        poller.register(portals[-1])
    for number in range(LANES):
        device = os.open(paths[LANE_PORT_NAME.format(number)], os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        poller.register(Lane(device, lanes))
    interface.prepare()
    await warm_up.all()
    container.get_ready()
    gc.collect()
    gc.freeze()
    limit_box(box)
    events.send({"event": "ready"})
    await loop.create_future()
