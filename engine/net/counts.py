"""How much a restricted box sent and received, in all and by whom it spoke to."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_HOSTS = 256
OTHERS = "(others)"


@dataclass(slots=True)
class HostCount:
    """Connections and bytes to and from one host, from the box's point of view."""

    connections: int = 0
    denied: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def as_dict(self) -> dict[str, int]:
        return {
            "connections": self.connections,
            "denied": self.denied,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
        }


@dataclass(slots=True)
class Counts:
    """Of one run of a box. Past MAX_HOSTS names the rest is counted together: the names are the box's choice."""

    total: HostCount = field(default_factory=HostCount)
    open_connections: int = 0
    failed: int = 0
    by_host: dict[str, HostCount] = field(default_factory=dict)

    def host(self, name: str) -> HostCount:
        found = self.by_host.get(name)
        if found is None:
            if len(self.by_host) >= MAX_HOSTS:
                name = OTHERS
            found = self.by_host.setdefault(name, HostCount())
        return found

    def add_denied(self, name: str) -> None:
        for count in (self.total, self.host(name)):
            count.denied += 1

    def add_connection(self, name: str) -> None:
        for count in (self.total, self.host(name)):
            count.connections += 1

    def add_bytes(self, name: str, *, sent: int, received: int) -> None:
        for count in (self.total, self.host(name)):
            count.bytes_sent += sent
            count.bytes_received += received

    def as_dict(self) -> dict[str, object]:
        return {
            **self.total.as_dict(),
            "open_connections": self.open_connections,
            "failed": self.failed,
            "by_host": {name: count.as_dict() for name, count in self.by_host.items()},
        }
