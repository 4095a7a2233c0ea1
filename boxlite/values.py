"""What the library tells about boxes and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from engine.model import BoxRecord, BoxStatus, HealthState, Image, Reclaimable, StageTimings
from engine.model.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A port of the box as the host has it: `host_port` 0 for one whose box has not been started yet."""

    guest_port: int
    host_port: int
    host_ip: str
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxStateInfo:
    """`pid` is the process on the host that stands behind a running box; `reason` what brought it here."""

    status: BoxStatus
    running: bool
    pid: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxInfo:
    """A box as it is on record now. Times are aware UTC; `exit_code` of the main command, 128+N if signalled, None
    while it runs or before; `timings` of the last start in milliseconds."""

    id: str
    name: str
    state: BoxStateInfo
    created_at: datetime
    started_at: datetime | None
    image: str | None
    cpus: int
    memory_mib: int
    ports: tuple[PublishedPort, ...]
    network_mode: str
    auto_stop: float
    auto_delete: float
    auto_resume: bool
    auto_remove: bool
    health_status: HealthState
    exit_code: int | None
    labels: Mapping[str, str]
    timings: StageTimings


def box_info(record: BoxRecord) -> BoxInfo:
    spec, state = record.spec, record.state
    return BoxInfo(
        id=record.id,
        name=record.name,
        state=BoxStateInfo(
            status=state.status, running=state.status.is_running, pid=state.pid, reason=state.reason
        ),
        created_at=record.created_at,
        started_at=state.started_at,
        image=spec.image,
        cpus=spec.cpus,
        memory_mib=spec.memory_mib,
        ports=tuple(
            PublishedPort(
                guest_port=port.box_port,
                host_port=port.host_port or 0,
                host_ip=port.host_ip,
                protocol=port.protocol.value,
            )
            for port in (state.ports or spec.ports)
        ),
        network_mode=spec.network.mode.value,
        auto_stop=spec.auto_stop_s,
        auto_delete=spec.auto_delete_s,
        auto_resume=spec.auto_resume,
        auto_remove=spec.auto_remove,
        health_status=state.health,
        exit_code=state.exit_code,
        labels=dict(spec.labels),
        timings=state.timings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """What `Box.health_check` found. `responsive`: the machine's agent answered, in `round_trip_ms`; `health` is what
    the box's own health check last said; `problem` says in words what is wrong."""

    status: BoxStatus
    responsive: bool
    round_trip_ms: float | None
    health: HealthState
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """An image in the local store; `size_bytes` as its layers were downloaded."""

    reference: str
    id: str
    config_digest: str
    layer_count: int
    size_bytes: int
    cached_at: datetime


def image_info(image: Image) -> ImageInfo:
    return ImageInfo(
        reference=image.reference,
        id=image.manifest_digest,
        config_digest=image.config_digest,
        layer_count=len(image.layers),
        size_bytes=image.size_bytes,
        cached_at=image.pulled_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInfo:
    """A volume of the home. `path` is its directory on the host; `used_by` the names of the boxes that mount it, running
    or not; `is_anonymous`: it was made for one box alone, and may outlive it."""

    name: str
    path: str
    created_at: datetime
    labels: Mapping[str, str]
    used_by: tuple[str, ...]
    is_anonymous: bool


def volume_info(volume: Volume) -> VolumeInfo:
    return VolumeInfo(
        name=volume.name,
        path=volume.path,
        created_at=volume.created_at,
        labels=dict(volume.labels),
        used_by=volume.used_by,
        is_anonymous=volume.is_anonymous,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleItem:
    """Something `Boxlite.cleanup_stale` took away. `kind`: "boxes" for the remains of one that is not on record, or
    "temporary files"."""

    kind: str
    path: str
    size_bytes: int


def stale_item(item: Reclaimable) -> StaleItem:
    return StaleItem(kind=item.kind, path=item.path, size_bytes=item.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeMetrics:
    """What one `Boxlite` has done since it was made; these counters only grow. `boxes_failed_total` counts boxes that
    could not be created or started, `total_exec_errors` commands that could not be run. `num_running_boxes` is the
    home's, whoever started them."""

    boxes_created_total: int
    boxes_failed_total: int
    boxes_stopped_total: int
    num_running_boxes: int
    total_commands_executed: int
    total_exec_errors: int
