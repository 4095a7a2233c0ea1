"""boxlite.v1.Guest: the machine itself."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from grpclib.const import Handler

from guest import identity
from guest.container import Container
from guest.egress import Egress
from guest.errors import GuestError
from guest.interface import Interface, Network
from guest.requests import Identity
from guest.services.calls import unary
from guest.services.requests import container_request
from guest.wire import portal_pb2 as pb
from guest.wire.constants import AGENT_VERSION

_SERVICE = "/boxlite.v1.Guest/"
_SECTOR_BYTES = 512


class GuestService:
    def __init__(self, container: Container, egress: Egress, interface: Interface) -> None:
        self._container = container
        self._egress = egress
        self._interface = interface
        self._identity: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()

    async def identity(self) -> Identity:
        """What Init made this machine; waits for it."""
        return await asyncio.shield(self._identity)

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"{_SERVICE}Init": unary(self.init, pb.InitRequest, pb.InitReply),
            f"{_SERVICE}Boot": unary(self.boot, pb.BootRequest, pb.BootReply),
            f"{_SERVICE}Ping": unary(self.ping, pb.PingRequest, pb.PingReply),
            f"{_SERVICE}Shutdown": unary(self.shutdown, pb.ShutdownRequest, pb.ShutdownReply),
            f"{_SERVICE}Quiesce": unary(self.quiesce, pb.QuiesceRequest, pb.QuiesceReply),
            f"{_SERVICE}Thaw": unary(self.thaw, pb.ThawRequest, pb.ThawReply),
            f"{_SERVICE}Metrics": unary(self.metrics, pb.MetricsRequest, pb.MetricsReply),
        }

    async def init(self, request: pb.InitRequest) -> pb.InitReply:
        if self._identity.done():
            raise GuestError("invalid_state", "this machine is a box already")
        if len(request.entropy) < 64:
            raise GuestError("invalid_argument", "at least 64 bytes of entropy are needed")
        identity.renew_entropy(request.entropy)
        identity.set_clock(request.realtime_ns)
        identity.set_hostname(request.hostname)
        network = _network(request)
        if network is not None and request.network.redirect:
            await self._egress.open(
                address=network.address.partition("/")[0], address6=network.address6.partition("/")[0]
            )
        else:
            self._interface.become(network)
        hosts = [(host.address, tuple(host.names)) for host in request.hosts]
        address = request.network.address.partition("/")[0]
        hosts.append((address or "127.0.1.1", (request.hostname,)))
        self._identity.set_result(
            Identity(
                hostname=request.hostname,
                machine_id=request.machine_id,
                hosts=identity.hosts_file(hosts),
                resolv=identity.resolv_file(request.dns, request.dns_search),
                ephemeral=request.ephemeral,
            )
        )
        return pb.InitReply(version=AGENT_VERSION, kernel_release=os.uname().release)

    async def boot(self, request: pb.BootRequest) -> pb.BootReply:
        wanted = container_request(self._container, request.container)
        machine = await self.init(request.machine)
        await self._container.initialize(await self.identity(), wanted)
        if not wanted.files_only:
            await self._container.start()
        return pb.BootReply(machine=machine, pid=self._container.main.pid)

    async def ping(self, _: pb.PingRequest) -> pb.PingReply:
        return pb.PingReply(
            version=AGENT_VERSION, uptime_ms=int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)
        )

    async def shutdown(self, request: pb.ShutdownRequest) -> pb.ShutdownReply:
        await self._container.release_disk(sync=request.sync)
        return pb.ShutdownReply()

    async def quiesce(self, _: pb.QuiesceRequest) -> pb.QuiesceReply:
        return pb.QuiesceReply(frozen_count=self._container.disk.quiesce())

    async def thaw(self, _: pb.ThawRequest) -> pb.ThawReply:
        return pb.ThawReply(thawed_count=self._container.disk.thaw())

    async def metrics(self, _: pb.MetricsRequest) -> pb.MetricsReply:
        cgroup = self._container.cgroup
        used, size = self._container.disk.usage()
        received, sent = _network_bytes()
        connections, errors = _tcp()
        read, written = _block_bytes(self._container.disk.device)
        return pb.MetricsReply(
            cpu_usage_us=cgroup.read_fields("cpu.stat").get("usage_usec", 0),
            memory_bytes=cgroup.read_number("memory.current"),
            memory_limit_bytes=cgroup.read_number("memory.max"),
            pids=cgroup.read_number("pids.current"),
            net_rx_bytes=received,
            net_tx_bytes=sent,
            disk_used_bytes=used,
            disk_size_bytes=size,
            tcp_connections=connections,
            tcp_errors=errors,
            block_read_bytes=read,
            block_write_bytes=written,
        )


def _network(request: pb.InitRequest) -> Network | None:
    if not request.HasField("network"):
        return None
    wanted = request.network
    return Network(
        mac=wanted.mac,
        address=wanted.address,
        gateway=wanted.gateway,
        address6=wanted.address6,
        gateway6=wanted.gateway6,
        mtu=wanted.mtu,
        announce=wanted.announce,
        link_address6=wanted.link_address6,
        name_server=wanted.name_server,
    )


def _network_bytes() -> tuple[int, int]:
    """Received and sent over every interface but the loopback (/proc/net/dev, proc_pid_net(5))."""
    received = sent = 0
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, counters = line.partition(":")
        fields = counters.split()
        if name.strip() != "lo":
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def _tcp() -> tuple[int, int]:
    """Connections established now, and segments received in error since the start (/proc/net/snmp)."""
    lines = [
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    ]
    fields = dict(zip(lines[0][1:], lines[1][1:], strict=False))
    return int(fields.get("CurrEstab", 0)), int(fields.get("InErrs", 0))


def _block_bytes(disk: Path | None) -> tuple[int, int]:
    """Read from and written to the box's disk (Documentation/block/stat.rst)."""
    if disk is None:
        return 0, 0
    fields = (Path("/sys/block") / disk.name / "stat").read_text().split()
    return int(fields[2]) * _SECTOR_BYTES, int(fields[6]) * _SECTOR_BYTES
