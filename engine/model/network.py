"""Ports and the network of a box."""

from __future__ import annotations

from enum import StrEnum

from engine.errors import InvalidArgumentError
from engine.values import dataclass


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


class NetworkMode(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """One published port. `host_port` None or 0: the system picks one at start."""

    box_port: int
    host_port: int | None = None
    host_ip: str = "0.0.0.0"  # noqa: S104  what Docker and the seeds bind
    protocol: Protocol = Protocol.TCP

    def __post_init__(self) -> None:
        if not 1 <= self.box_port <= 65535:
            raise InvalidArgumentError(f"box port {self.box_port} is not between 1 and 65535")
        if self.host_port is not None and not 0 <= self.host_port <= 65535:
            raise InvalidArgumentError(f"host port {self.host_port} is not between 0 and 65535")

    def __str__(self) -> str:
        address = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        return f"{address}:{self.host_port or 0}->{self.box_port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """`allow_net` empty: everything outside is reachable."""

    mode: NetworkMode = NetworkMode.ENABLED
    allow_net: tuple[str, ...] = ()
    deny_net: tuple[str, ...] = ()
    host_access: bool = True
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    add_host: tuple[tuple[str, str], ...] = ()
    tx_kbps: int = 0
    rx_kbps: int = 0
