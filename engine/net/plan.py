"""Addresses inside a box, and which host ports lead into it."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.errors import NetworkError, PortInUseError, UnsupportedError
from engine.model import PortSpec, Protocol
from guest.wire.constants import HOST_ADDRESS, HOST_ADDRESS6

if TYPE_CHECKING:
    from engine.net.policy import Policy
    from engine.net.secrets import SecretsGrant

HOST_ALIAS = "host.boxlite.internal"
EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104  recognised, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """What one start of a box uses. `ports` have real host ports."""

    mac: str
    ports: tuple[PortSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """Why a box goes through the gateway, and what that is to do. `servers`: the name servers to ask, empty: the host's;
    caps in thousand bits a second, 0: none; `ipv6`: the host has it, so the box has too."""

    policy: Policy
    servers: tuple[str, ...] = ()
    tx_kbps: int = 0
    rx_kbps: int = 0
    ipv6: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlan:
    """What a gateway is told over its control socket, pickled. Descriptors are those it inherits: the machine's network
    port, and a bound socket for each published port."""

    box_name: str
    restriction: Restriction
    log_path: str
    portal_fd: int
    listeners: tuple[tuple[int, PortSpec], ...] = ()
    secrets: SecretsGrant | None = None


def tcp_server(server: str) -> str | None:
    """Where a box reaches over TCP a server that the host asks for names; None where it does not: of the host's loopback it reaches the
    first address alone."""
    address = ipaddress.ip_address(server)
    if not address.is_loopback:
        return server
    return {"127.0.0.1": HOST_ADDRESS, "::1": HOST_ADDRESS6}.get(server)


def mac_of(box_id: str) -> str:
    """A locally administered unicast address (IEEE 802: second bit of the first octet), always the same for a box."""
    digest = hashlib.sha256(box_id.encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x52, 0x54, *digest[:4]))


def plan_ports(ports: Sequence[PortSpec]) -> tuple[PortSpec, ...]:
    """Give every port a host port: the asked one if it is free, any where none was asked.

    Raises PortInUseError naming the taken address and who holds it, before anything is started.
    """
    return tuple(replace(port, host_port=_free_port(port)) for port in ports)


def check_ports_for_passt(ports: Sequence[PortSpec]) -> None:
    """Raise UnsupportedError for a host port that is published on several addresses, unless these are all that there are."""
    for port in ports:
        sharing = sharing_host_port(port, ports)
        addresses = {one.host_ip for one in sharing}
        if len({one.box_port for one in sharing}) > 1 or (len(addresses) > 1 and addresses != EVERY_ADDRESS):
            raise UnsupportedError(
                f"host port {port.host_port}/{port.protocol} is published on {' and '.join(sorted(addresses))}: passt, the network "
                "process, takes a host port once",
                hint="publish it on 0.0.0.0 and [::], or under another host port for each address",
            )


def sharing_host_port(port: PortSpec, ports: Sequence[PortSpec]) -> list[PortSpec]:
    """The ports published at the same host port, on whichever addresses; this one among them."""
    return [one for one in ports if (one.protocol, one.host_port) == (port.protocol, port.host_port)]


def _free_port(port: PortSpec) -> int:
    with bind_port(port) as probe:
        return int(probe.getsockname()[1])


def bind_port(port: PortSpec) -> socket.socket:
    """A socket bound to the host's side of a port. Raises PortInUseError, NetworkError."""
    kind = socket.SOCK_STREAM if port.protocol is Protocol.TCP else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    bound = socket.socket(family, kind)
    try:
        if port.protocol is Protocol.TCP:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((port.host_ip, port.host_port or 0))
    except OSError as error:
        bound.close()
        raise _not_bound(port, error) from error
    return bound


def _not_bound(port: PortSpec, error: OSError) -> NetworkError:
    where = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
    if isinstance(error, PermissionError):
        return NetworkError(
            f"host port {port.host_port}/{port.protocol} may not be bound by this user",
            hint="use a port of 1024 or more, or lower the sysctl net.ipv4.ip_unprivileged_port_start",
        )
    if error.errno == errno.EADDRINUSE:
        from engine.net.holders import holder_of

        holder = holder_of(port)
        return PortInUseError(
            f"host address {where}:{port.host_port}/{port.protocol} is in use"
            + (f" by {holder}" if holder else ""),
            hint="stop what uses it (`ss -lntup` shows it), or publish another port with -p HOST:BOX",
        )
    return NetworkError(
        f"host address {where}:{port.host_port}/{port.protocol} cannot be bound: {error.strerror}",
        hint="publish on an address of this host (`ip address` lists them), or leave it out: -p HOST:BOX",
    )
