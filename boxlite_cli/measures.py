"""What boxes use, as `stats` shows it: numbers for programs, the texts Docker users know for people."""

from __future__ import annotations

from typing import Any

from boxlite_cli.humane import size_text
from engine.metrics import BoxMetrics, CpuUse
from engine.model import BoxRecord

COLUMNS = ("Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs", "HostCPU", "HostMem")
HEADINGS = {
    "ID": "ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
    "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS", "HostCPU": "HOST CPU %", "HostMem": "HOST MEM",
}  # fmt: skip


def stats_object(record: BoxRecord, metrics: BoxMetrics, cpu: CpuUse) -> dict[str, Any]:
    """Numbers: bytes, percent of one processor, counts."""
    return {
        "ID": record.id,
        "Name": record.name,
        "Time": metrics.taken_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "CpuPercent": round(cpu.box_percent, 2),
        "MemoryBytes": metrics.memory_bytes,
        "MemoryLimitBytes": metrics.memory_limit_bytes,
        "MemoryPercent": round(_share(metrics), 2),
        "Pids": metrics.pids,
        "NetworkBytesReceived": metrics.network_bytes_received,
        "NetworkBytesSent": metrics.network_bytes_sent,
        "NetworkTcpConnections": metrics.network_tcp_connections,
        "NetworkTcpErrors": metrics.network_tcp_errors,
        "NetworkByHost": {name: dict(count) for name, count in metrics.network_by_host.items()},
        "BlockReadBytes": metrics.block_read_bytes,
        "BlockWriteBytes": metrics.block_write_bytes,
        "DiskUsedBytes": metrics.disk_used_bytes,
        "DiskSizeBytes": metrics.disk_size_bytes,
        "HostCpuPercent": None if cpu.host_percent is None else round(cpu.host_percent, 2),
        "HostMemoryBytes": metrics.host_memory_bytes,
    }


NUMBERS = (
    "CpuPercent", "MemoryBytes", "MemoryLimitBytes", "MemoryPercent", "Pids", "NetworkBytesReceived", "NetworkBytesSent",
    "NetworkTcpConnections", "NetworkTcpErrors", "NetworkByHost", "BlockReadBytes", "BlockWriteBytes", "DiskUsedBytes",
    "DiskSizeBytes", "HostCpuPercent", "HostMemoryBytes",
)  # fmt: skip


def idle_object(record: BoxRecord) -> dict[str, Any]:
    """The object of a box that does not run: nothing was measured."""
    return {"ID": record.id, "Name": record.name, "Time": None} | dict.fromkeys(NUMBERS)


def stats_row(record: BoxRecord, metrics: BoxMetrics, cpu: CpuUse) -> dict[str, Any]:
    """The same for the table and for templates, which may use either names."""
    received, sent = metrics.network_bytes_received, metrics.network_bytes_sent
    return stats_object(record, metrics, cpu) | {
        "ID": record.short_id,
        "Container": record.short_id,
        "CPUPerc": f"{cpu.box_percent:.2f}%",
        "MemUsage": f"{size_text(metrics.memory_bytes)} / {size_text(metrics.memory_limit_bytes)}",
        "MemPerc": f"{_share(metrics):.2f}%",
        "NetIO": f"{size_text(received)} / {size_text(sent)}",
        "BlockIO": f"{size_text(metrics.block_read_bytes)} / {size_text(metrics.block_write_bytes)}",
        "PIDs": str(metrics.pids),
        "HostCPU": "-" if cpu.host_percent is None else f"{cpu.host_percent:.1f}%",
        "HostMem": "-" if metrics.host_memory_bytes is None else size_text(metrics.host_memory_bytes),
    }


def pending_row(record: BoxRecord) -> dict[str, Any]:
    """A box that has not been looked into yet, or does not run."""
    known = {"ID": record.short_id, "Container": record.short_id, "Name": record.name}
    return dict.fromkeys((*COLUMNS, *NUMBERS, "Time"), "--") | known


def _share(metrics: BoxMetrics) -> float:
    return metrics.memory_bytes * 100 / metrics.memory_limit_bytes if metrics.memory_limit_bytes else 0.0
