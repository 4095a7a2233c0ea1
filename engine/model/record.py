"""What a box is now: its state, and its row."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from engine.model.box import SPEC_SCHEMA, BoxSpec
from engine.model.config import Accel
from engine.model.network import PortSpec
from engine.model.status import BoxStatus, HealthState


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimings:
    """Milliseconds each stage of the last start took; None: not reached or not needed."""

    image_prepare_ms: float | None = None
    filesystem_setup_ms: float | None = None
    guest_rootfs_ms: float | None = None
    box_config_ms: float | None = None
    box_spawn_ms: float | None = None
    container_init_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxState:
    """What a box is now. `reason` says in words what brought it here.

    `pid` is the shim's process id and `pid_start` its start time in clock ticks since boot (together they name
    one process for ever within one `boot_id`). `exit_code` is the main command's, 128+N if signalled.
    """

    status: BoxStatus
    changed_at: datetime
    reason: str = ""
    pid: int | None = None
    pid_start: int | None = None
    boot_id: str | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    restart_count: int = 0
    manually_stopped: bool = False
    accel: Accel | None = None
    ports: tuple[PortSpec, ...] = ()
    health: HealthState = HealthState.NONE
    health_failures: int = 0
    timings: StageTimings = field(default_factory=StageTimings)

    def same_run(self, other: BoxState) -> bool:
        """Is it the same shim that runs the box in both, or none?"""
        return (self.pid, self.pid_start, self.boot_id) == (other.pid, other.pid_start, other.boot_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxRecord:
    """One row: identity, spec and state. `manifest_digest` is what the image resolved to at create."""

    id: str
    name: str
    spec: BoxSpec
    state: BoxState
    created_at: datetime
    manifest_digest: str | None = None
    config_digest: str | None = None

    @property
    def status(self) -> BoxStatus:
        return self.state.status

    @property
    def short_id(self) -> str:
        return self.id[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSpec:
    """The fields of BoxSpec that a list of boxes shows or is filtered by."""

    image: str | None = None
    rootfs: str | None = None
    schema: int = SPEC_SCHEMA
    labels: dict[str, str] = field(default_factory=dict)
    ports: tuple[PortSpec, ...] = ()
    auto_remove: bool = False
    auto_delete_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBox:
    """One row as a list needs it: a thousand of them are read in the time that whole records of some hundreds take."""

    id: str
    name: str
    spec: ListedSpec
    state: BoxState
    created_at: datetime

    @property
    def status(self) -> BoxStatus:
        return self.state.status

    @property
    def short_id(self) -> str:
        return self.id[:12]
