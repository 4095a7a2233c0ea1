"""Addresses inside a box, and which host ports lead into it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import NetworkError, PortInUseError
from engine.model import PortSpec, Protocol

DNS_ADDRESS = "192.168.127.1"
HOST_ALIAS = "host.boxlite.internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """What one start of a box uses. `ports` have real host ports."""

    mac: str
    ports: tuple[PortSpec, ...]


def mac_of(box_id: str) -> str:
    """A locally administered unicast address (IEEE 802: second bit of the first octet), always the same for a box."""
    digest = hashlib.sha256(box_id.encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x52, 0x54, *digest[:4]))


def plan_ports(ports: Sequence[PortSpec]) -> tuple[PortSpec, ...]:
    """Give every port a host port: the asked one if it is free, any where none was asked.

    Raises PortInUseError naming the taken address, before anything is started.
    """
    return tuple(replace(port, host_port=_free_port(port)) for port in ports)


def _free_port(port: PortSpec) -> int:
    kind = socket.SOCK_STREAM if port.protocol is Protocol.TCP else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    try:
        with socket.socket(family, kind) as probe:
            if port.protocol is Protocol.TCP:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((port.host_ip, port.host_port or 0))
            return int(probe.getsockname()[1])
    except PermissionError as error:
        raise NetworkError(
            f"host port {port.host_port}/{port.protocol} may not be bound by this user",
            hint="use a port of 1024 or more, or lower the sysctl net.ipv4.ip_unprivileged_port_start",
        ) from error
    except OSError as error:
        raise PortInUseError(
            f"host address {port.host_ip}:{port.host_port}/{port.protocol} cannot be bound: {error.strerror}",
            hint="stop what uses it (`ss -lntup` shows it), or publish another port with -p HOST:BOX",
        ) from error
