"""What a running box is measured by, and the commands that run in it: values for the command line, the REST API and the
library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxMetrics:
    """One look at a running box. Counters only grow while it runs; a rate is the difference of two looks.

    The first fields are the guest's own word for its container; `host_…` is what the box's processes (shim, machine,
    network) cost this host, None where the system does not tell. Host memory counts what several boxes share once
    for all of them together (PSS) where that is known, else it is the resident size. Of a restricted box the network's
    numbers are the gateway's, and `network_by_host` has connections, denied, bytes_sent and bytes_received of each host.
    """

    taken_at: datetime
    cpu_usage_us: int
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    network_bytes_received: int
    network_bytes_sent: int
    network_tcp_connections: int
    network_tcp_errors: int
    block_read_bytes: int
    block_write_bytes: int
    disk_used_bytes: int
    disk_size_bytes: int
    network_by_host: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    host_cpu_us: int | None = None
    host_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUse:
    """Processor time between two looks, in percent of one processor."""

    box_percent: float
    host_percent: float | None

    @classmethod
    def between(cls, earlier: BoxMetrics, later: BoxMetrics) -> CpuUse:
        elapsed_us = max(1.0, (later.taken_at - earlier.taken_at).total_seconds() * 1e6)
        host = None
        if earlier.host_cpu_us is not None and later.host_cpu_us is not None:
            host = max(0, later.host_cpu_us - earlier.host_cpu_us) / elapsed_us * 100
        box = max(0, later.cpu_usage_us - earlier.cpu_usage_us) / elapsed_us * 100
        return cls(box_percent=box, host_percent=host)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSession:
    """One command in a box: the main one (`id` is "main") or one that exec added. `attached` counts those who read its
    output now; `stdin` says whether it can be given input; `processes` its descendants and itself. `exit_code` None: it still runs."""

    id: str
    argv: tuple[str, ...]
    tty: bool
    stdin: bool
    attached: int
    processes: int
    started_at: datetime | None
    exit_code: int | None
