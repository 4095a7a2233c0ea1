"""How much a restricted box sent and received, in all and by whom it spoke to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

MAX_HOSTS = 256
OTHERS = "(others)"


class Counted(Protocol):
    """A flow: bytes taken from the box, and given to it, so far."""

    @property
    def bytes_out(self) -> int: ...

    @property
    def bytes_in(self) -> int: ...


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
    failed: int = 0
    by_host: dict[str, HostCount] = field(default_factory=dict)
    _live: dict[Counted, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def following(self, name: str, flow: Counted) -> Iterator[None]:
        """Count what goes over a flow, while it does."""
        self._live[flow] = name
        try:
            yield
        finally:
            del self._live[flow]
            self._add_bytes(name, flow)

    @property
    def open_connections(self) -> int:
        return len(self._live)

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

    def _add_bytes(self, name: str, flow: Counted) -> None:
        for count in (self.total, self.host(name)):
            count.bytes_sent += flow.bytes_out
            count.bytes_received += flow.bytes_in

    def as_dict(self) -> dict[str, object]:
        """All of it until now, with what flows that are still open have carried."""
        now = replace(
            self,
            total=replace(self.total),
            by_host={name: replace(count) for name, count in self.by_host.items()},
        )
        for flow, name in self._live.items():
            now._add_bytes(name, flow)
        return {
            **now.total.as_dict(),
            "open_connections": self.open_connections,
            "failed": self.failed,
            "by_host": {name: count.as_dict() for name, count in now.by_host.items()},
        }
