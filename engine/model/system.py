"""What a host and a home are like: checks, facts, disk usage."""

from __future__ import annotations

from enum import StrEnum

from engine.model.config import Accel
from engine.values import dataclass


class CheckStatus(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of `boxlite system doctor`; `remedy` is empty when there is nothing to do."""

    name: str
    status: CheckStatus
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeInfo:
    """What `boxlite info` prints. `virtualization` is "available" or "unavailable: why"."""

    version: str
    home_dir: str
    virtualization: str
    accel: Accel
    os: str
    arch: str
    cpus: int
    memory_mib: int
    qemu_version: str | None
    guest_digest: str | None
    boxes_total: int
    boxes_running: int
    boxes_stopped: int
    boxes_configured: int
    images_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """One line of `boxlite df`: `active` of `total` are needed; sizes in allocated bytes."""

    kind: str
    total: int
    active: int
    size_bytes: int
    reclaimable_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimable:
    """Something on disk that nothing needs."""

    kind: str
    path: str
    size_bytes: int
