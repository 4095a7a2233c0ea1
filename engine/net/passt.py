"""passt: one process per box that turns the machine's frames into the host user's own sockets.

It takes one end of a socket pair (`--fd`, which implies that it ends with its peer); the other end goes to QEMU, so
that QEMU itself can sit in an empty network namespace. Documentation: passt(1).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.errors import NetworkError, UnsupportedError
from engine.jailer.grants import Grant, Identity, Jail, Limits, read
from engine.jailer.identity import gives_ids
from engine.jailer.ownership import Claim
from engine.jailer.programs import program_grants
from engine.jailer.room import jailed
from engine.jailer.syscalls import passt_profile
from engine.model import PortSpec, Protocol
from engine.net.plan import EVERY_ADDRESS, sharing_host_port
from engine.process import Command, find_program, start, terminate
from guest.wire.constants import (
    BOX_ADDRESS,
    BOX_ADDRESS6,
    BOX_MTU,
    BOX_PREFIX_LENGTH,
    DNS_ADDRESS,
    DNS_ADDRESS6,
    HOST_ADDRESS,
    HOST_ADDRESS6,
)

MEMORY_BYTES = 1 << 30
"""What passt may map: its buffers have fixed sizes, some 50 MB in all."""
_PROCESSOR = Path("/proc/cpuinfo")
_SETTINGS = Path("/proc/sys")
_PRIVILEGED_PORTS = 1024
BURST_BYTES = 4 << 20
_SO_SNDBUFFORCE = 32
"""socket(7); Python has no name for it."""
CAPABILITIES = ("CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")


def build_passt_argv(
    binary: str,
    fd: int,
    ports: Sequence[PortSpec],
    *,
    host_access: bool = True,
    answers_names: bool = True,
    ipv6: bool = False,
) -> tuple[str, ...]:
    """passt's argument vector for a box. The gateway's address is the host's loopback, unless `host_access` is off.

    `answers_names`: queries to DNS_ADDRESS go to the host's first name server over IPv4, those to DNS_ADDRESS6 to its first one over
    IPv6. passt finds both in /etc/resolv.conf alone: versions of 2023 send queries nowhere when they are given a server with `--dns`.
    `ipv6`: the host has it, so the box has too. Where a port is published over IPv6, the box is told where its neighbours are (NDP):
    callers from the host's loopback have an address that it looks for.
    """
    words = [
        binary, "--foreground", "--quiet", "--fd", str(fd),
        "--address", BOX_ADDRESS, "--netmask", str(BOX_PREFIX_LENGTH), "--gateway", HOST_ADDRESS,
        "--mtu", str(BOX_MTU), "--no-dhcp", "--no-dhcpv6", "--no-ra",
    ]  # fmt: skip
    if not (ipv6 and any(":" in port.host_ip for port in ports)):
        words.append("--no-ndp")
    if ipv6:
        words += ("--address", BOX_ADDRESS6, "--gateway", HOST_ADDRESS6)
    else:
        words.append("--ipv4-only")
    if answers_names:
        words += ("--dns-forward", DNS_ADDRESS)
    if answers_names and ipv6:
        words += ("--dns-forward", DNS_ADDRESS6)
    if not host_access:
        words.append("--no-map-gw")
    for flag, protocol in (("--tcp-ports", Protocol.TCP), ("--udp-ports", Protocol.UDP)):
        published = [port for port in ports if port.protocol is protocol]
        for specifier in _specifiers(published) or ("none",):
            words += (flag, specifier)
    return tuple(words)


def _specifiers(ports: Sequence[PortSpec]) -> tuple[str, ...]:
    """How passt is told of the ports of one protocol. It takes each host port once: without an address it is that of every address,
    over IPv4 and IPv6."""
    everywhere = {
        port.host_port
        for port in ports
        if {one.host_ip for one in sharing_host_port(port, ports)} == EVERY_ADDRESS
    }
    told = [
        f"{port.host_port}:{port.box_port}"
        if port.host_port in everywhere
        else f"{port.host_ip}/{port.host_port}:{port.box_port}"
        for port in ports
    ]
    return tuple(dict.fromkeys(told))


def passt_jail(
    binary: str,
    ports: Sequence[PortSpec] = (),
    *,
    resolver_file: str | None = None,
    enabled: bool = True,
    identity: Identity | None = None,
) -> Jail:
    """A view of nothing but passt itself, in the host's network, and a filter of ours. It confines itself further before it
    looks at a frame: a user namespace, an empty root and a seccomp filter of its own (passt(1), SECURITY).

    `identity` is who it becomes where root starts it: before it begins, without any capability; or by itself where it has
    to bind a port that is root's, with those that this takes. `resolver_file` is what it sees as /etc/resolv.conf.
    """
    becomes_itself = identity is not None and needs_privilege(ports)
    return Jail(
        grants=(*program_grants(binary), *_names(resolver_file)),
        directories=("/tmp",),  # noqa: S108  where it mounts its empty root
        network=True,
        enabled=enabled,
        mounts=True,
        listens=(0, *sorted({port.host_port or 0 for port in ports if port.protocol is Protocol.TCP} - {0})),
        identity=None if becomes_itself else identity,
        capabilities=CAPABILITIES if becomes_itself else (),
        syscalls=passt_profile(),
        limits=Limits(processes=1 if identity is not None else None, memory_bytes=MEMORY_BYTES),
    )


def _names(resolver_file: str | None) -> Iterator[Grant]:
    if resolver_file is not None:
        yield read(resolver_file, target="/etc/resolv.conf", optional=True)


def find_passt() -> str | None:
    """The passt for this processor: Debian's has another one for those with AVX2 beside it, which it would become by itself, if
    it could start a program."""
    binary = find_program("passt")
    if binary is None:
        return None
    variant = f"{binary}.avx2"
    return variant if Path(variant).exists() and _has_avx2() else binary


def _has_avx2() -> bool:
    try:
        with _PROCESSOR.open("rb", buffering=0) as file:
            return b" avx2 " in file.read(
                4096
            )  # the first processor's lines: reading all takes long on a large host
    except OSError:
        return False


def needs_privilege(ports: Sequence[PortSpec]) -> bool:
    """Is one of the ports on the host for root alone (ip(7), ip_unprivileged_port_start), or may nobody but root make a user
    namespace here?"""
    from engine.host.namespaces import find_forbidding_switch

    if find_forbidding_switch(_SETTINGS) is not None:
        return True
    try:
        first = int((_SETTINGS / "net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        first = _PRIVILEGED_PORTS
    return any(port.host_port is not None and 0 < port.host_port < first for port in ports)


def hold_bursts(far_end: socket.socket) -> int:
    """Give passt's end of the pair room for what it sends at a time; the bytes there is room for.

    Versions of passt up to 2023 throw away what does not fit, and find out by a timer. Only root may pass the host's own limit
    (`net.core.wmem_max`); below it the box's small window (guest.interface) still keeps single connections fast.
    """
    far_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BURST_BYTES)
    if sys.platform == "linux" and burst_room(far_end) < BURST_BYTES:
        with contextlib.suppress(PermissionError):
            far_end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, BURST_BYTES)
    return burst_room(far_end)


def burst_room(end: socket.socket) -> int:
    """The kernel doubles what was asked for, for its own records, and tells the double (socket(7))."""
    return end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2


class Network:
    """The network of one run of a machine: a socket pair, and passt at its far end from the moment it is needed.

    passt takes 30 MB of memory whatever it does. Where ports are published it has to be there from the start; elsewhere
    the first frame that the machine sends starts it, and waits in the socket until it listens.
    """

    def __init__(
        self,
        far_end: socket.socket,
        ports: Sequence[PortSpec],
        *,
        host_access: bool,
        resolver_file: str | None,
        ipv6: bool,
        log_path: Path,
        home: Path,
        jail_enabled: bool = True,
    ) -> None:
        """`far_end` is the end of the pair that is not the machine's; it is ours from now on. Raises UnsupportedError when
        passt is not installed."""
        self._far_end = far_end
        hold_bursts(far_end)
        binary = find_passt()
        if binary is None:
            raise UnsupportedError(
                "the program passt is not installed any more, so the box can have no network",
                hint="install the package passt, or run without a network: --network disabled",
            )
        self._binary = binary
        self._ports = tuple(ports)
        self._jail_enabled = jail_enabled
        self._log_path = log_path
        self._home = home
        self._claim = Claim.of() if gives_ids() else None
        self._argv = build_passt_argv(
            binary, self._far_end.fileno(), ports,
            host_access=host_access, answers_names=resolver_file is not None, ipv6=ipv6,
        )  # fmt: skip
        self._resolver_file = resolver_file
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Start passt now if it has ports to listen on. Raises NetworkError."""
        if self._ports:
            await self._start()

    async def run(self) -> int | None:
        """Until passt has ended; its status, or None when the machine is gone and never needed it. Raises
        NetworkError."""
        if self._process is None:
            await self._readable()
            if not self._far_end.recv(1, socket.MSG_PEEK):
                return None
            await self._start()
        assert self._process is not None
        return await self._process.wait()

    async def close(self) -> None:
        """End passt."""
        if self._far_end.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._far_end)
            self._far_end.close()
        if self._process is not None:
            await terminate(self._process, grace_s=0.5)
        if self._claim is not None:
            self._claim.close()

    async def _start(self) -> None:
        identity = None if self._claim is None else self._claim.identity
        jail = passt_jail(
            self._binary, self._ports,
            resolver_file=self._resolver_file, enabled=self._jail_enabled, identity=identity,
        )  # fmt: skip
        argv = self._argv
        if identity is not None and (jail.identity is None or not jail.enabled):
            argv += ("--runas", f"{identity.uid}:{identity.gid}")
        command = Command(argv=argv, pass_fds=(self._far_end.fileno(),))
        try:
            async with jailed(command, jail, home=self._home) as wrapped:
                self._process = await start(wrapped, log_path=self._log_path)
        except OSError as error:
            raise NetworkError(f"passt could not be started: {error.strerror}") from error
        finally:
            self._far_end.close()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._far_end, readable.set)
        try:
            await readable.wait()
        finally:
            if self._far_end.fileno() >= 0:
                loop.remove_reader(self._far_end)
