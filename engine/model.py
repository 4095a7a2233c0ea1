"""The vocabulary: what a box is asked to be (`BoxSpec`), what it is now (`BoxState`), and the values
that stages hand to one another. Everything here is frozen; a stage takes one value and returns one.

Units are in the names: `memory_mib`, `size_bytes`, `timeout_s`. Times are aware UTC datetimes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from engine.errors import InvalidArgumentError, InvalidStateError

SPEC_SCHEMA = 1
"""Version of the stored `BoxSpec` document; readers refuse a newer one."""

DEFAULT_CPUS = 1
DEFAULT_MEMORY_MIB = 512
DEFAULT_DISK_SIZE_GB = 10
DEFAULT_STOP_TIMEOUT_S = 10.0
DEFAULT_IMAGE = "alpine:latest"
MIN_MEMORY_MIB = 128
MAX_MEMORY_MIB = 65536
MAX_CPUS = 255
MAX_DISK_SIZE_GB = 1024

NAME_PATTERN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
ENV_NAME_PATTERN = re.compile(r"[^=\0]+")
HOSTNAME_PATTERN = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?")
BOX_ID_PATTERN = re.compile(r"[0-9A-Za-z]{12}|[0-9A-HJKMNP-TV-Z]{26}")

DOCKER_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
"""Docker's default set (moby, oci/caps/defaults.go), without the CAP_ prefix."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class BoxStatus(StrEnum):
    """Where a box is in its life."""

    CONFIGURED = "configured"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PAUSED = "paused"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def is_active(self) -> bool:
        """A process of ours stands behind it."""
        return self in _ACTIVE

    @property
    def is_running(self) -> bool:
        return self is BoxStatus.RUNNING

    @property
    def is_transient(self) -> bool:
        return self is BoxStatus.STOPPING

    @property
    def can_start(self) -> bool:
        return self in (BoxStatus.CONFIGURED, BoxStatus.STOPPED, BoxStatus.FAILED)

    @property
    def can_stop(self) -> bool:
        return self in (BoxStatus.RUNNING, BoxStatus.PAUSED)

    @property
    def can_remove(self) -> bool:
        return not self.is_active

    @property
    def can_run(self) -> bool:
        return self in (BoxStatus.CONFIGURED, BoxStatus.RUNNING, BoxStatus.STOPPED)


_ACTIVE = frozenset({BoxStatus.RUNNING, BoxStatus.STOPPING, BoxStatus.PAUSED})

_S = BoxStatus
TRANSITIONS: dict[BoxStatus, frozenset[BoxStatus]] = {
    _S.CONFIGURED: frozenset({_S.RUNNING, _S.FAILED}),
    _S.RUNNING: frozenset({_S.STOPPING, _S.STOPPED, _S.PAUSED, _S.FAILED, _S.UNKNOWN, _S.CONFIGURED}),
    _S.STOPPING: frozenset({_S.STOPPED, _S.FAILED, _S.UNKNOWN, _S.CONFIGURED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.STOPPING, _S.STOPPED, _S.FAILED, _S.UNKNOWN}),
    _S.STOPPED: frozenset({_S.RUNNING, _S.FAILED}),
    _S.FAILED: frozenset({_S.RUNNING, _S.STOPPED}),
    _S.UNKNOWN: frozenset({_S.STOPPED, _S.FAILED, _S.RUNNING}),
}
"""The whole state machine: from → the statuses that may follow. Removal is possible from any status
that is not active. Back to configured goes a box whose machine ran for a copy only."""


def check_transition(old: BoxStatus, new: BoxStatus, *, box: str, operation: str) -> None:
    """Raise InvalidStateError unless `new` may follow `old`."""
    if new not in TRANSITIONS[old]:
        raise InvalidStateError(f"it is {old}, which {new} cannot follow", box=box, operation=operation)


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


class NetworkMode(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"


class VolumeKind(StrEnum):
    BIND = "bind"
    NAMED = "named"
    ANONYMOUS = "anonymous"
    TMPFS = "tmpfs"


class RestartKind(StrEnum):
    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


class PullPolicy(StrEnum):
    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


class Accel(StrEnum):
    """How the machine's processor is run."""

    KVM = "kvm"
    HVF = "hvf"
    TCG = "tcg"


class HealthState(StrEnum):
    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


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
class VolumeSpec:
    """One mount: `source` is an absolute host path, a volume's name or id, or None (anonymous, tmpfs)."""

    kind: VolumeKind
    target: str
    source: str | None = None
    read_only: bool = False
    tmpfs_size_bytes: int | None = None
    tmpfs_mode: int | None = None

    def __post_init__(self) -> None:
        if not self.target.startswith("/"):
            raise InvalidArgumentError(f"volume path {self.target!r} in the box is not absolute")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """What stands between a guest that has won and the host. `preset` is what it was made from."""

    preset: str = "enabled"
    jailer_enabled: bool = True
    seccomp_enabled: bool = True
    new_pid_ns: bool = True
    new_net_ns: bool = True
    chroot_enabled: bool = True
    close_fds: bool = True
    sanitize_env: bool = True
    env_allowlist: tuple[str, ...] = ()
    network_enabled: bool = True
    uid: int | None = None
    gid: int | None = None
    sandbox_profile: str | None = None
    max_open_files: int | None = 1024
    max_file_size_bytes: int | None = None
    max_processes: int | None = 1024
    max_memory_bytes: int | None = None
    max_cpu_time_s: int | None = None

    @classmethod
    def from_preset(cls, name: str) -> SecurityOptions:
        """development and disabled: no jail. standard: no limits. maximum: tight limits. enabled: default."""
        match name:
            case "enabled" | "enable":
                return cls()
            case "standard":
                return cls(preset="standard", max_open_files=None, max_processes=None)
            case "maximum":
                return cls(preset="maximum", max_processes=100)
            case "development" | "disabled" | "disable":
                return cls(
                    preset="disabled" if name == "disable" else name,
                    jailer_enabled=False, seccomp_enabled=False, new_pid_ns=False, new_net_ns=False,
                    chroot_enabled=False, close_fds=False, sanitize_env=False,
                    max_open_files=None, max_processes=None,
                )  # fmt: skip
        raise InvalidArgumentError(
            f"security preset {name!r} does not exist",
            hint="presets: enabled, standard, maximum, development, disabled",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    kind: RestartKind = RestartKind.NO
    max_retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """`command` runs in the box; exit status 0 is healthy."""

    command: tuple[str, ...]
    interval_s: float = 30.0
    timeout_s: float = 10.0
    retries: int = 3
    start_period_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSpec:
    """What a box was asked to be. Set once at create, stored as JSON with `schema`.

    `entrypoint` None: the image's; `cmd` None: the image's. A box with either given is a *job box* (its
    command is never run twice without being asked); one with neither is *resumable*.
    """

    image: str | None = DEFAULT_IMAGE
    rootfs: str | None = None
    schema: int = SPEC_SCHEMA
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    user: str | None = None
    hostname: str | None = None
    tty: bool = False
    stdin_open: bool = False
    cpus: int = DEFAULT_CPUS
    memory_mib: int = DEFAULT_MEMORY_MIB
    disk_size_gb: int | None = None
    network: NetworkSpec = field(default_factory=NetworkSpec)
    ports: tuple[PortSpec, ...] = ()
    publish_all: bool = False
    volumes: tuple[VolumeSpec, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    auto_remove: bool = False
    detach: bool = False
    security: SecurityOptions = field(default_factory=SecurityOptions)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    read_only: bool = False
    pids_limit: int | None = None
    shm_size_bytes: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    init: bool = False
    stop_signal: str | None = None
    stop_timeout_s: float = DEFAULT_STOP_TIMEOUT_S
    timeout_s: float = 0.0
    auto_stop_s: float = 0.0
    auto_delete_s: float = 0.0
    auto_resume: bool = True
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    health: HealthCheck | None = None
    platform: str | None = None
    cold_boot: bool = False

    def __post_init__(self) -> None:
        if (self.image is None) == (self.rootfs is None):
            raise InvalidArgumentError("give an image or a rootfs path, and only one of them")
        if not 1 <= self.cpus <= MAX_CPUS:
            raise InvalidArgumentError(f"cpus must be between 1 and {MAX_CPUS}, not {self.cpus}")
        if not MIN_MEMORY_MIB <= self.memory_mib <= MAX_MEMORY_MIB:
            raise InvalidArgumentError(
                f"memory must be between {MIN_MEMORY_MIB} and {MAX_MEMORY_MIB} MiB, not {self.memory_mib}"
            )
        if self.disk_size_gb is not None and not 1 <= self.disk_size_gb <= MAX_DISK_SIZE_GB:
            raise InvalidArgumentError(
                f"disk size must be between 1 and {MAX_DISK_SIZE_GB} GB, not {self.disk_size_gb}"
            )
        for key, _ in self.env:
            if not ENV_NAME_PATTERN.fullmatch(key):
                raise InvalidArgumentError(f"environment variable name {key!r} is not valid")
        if self.working_dir is not None and not self.working_dir.startswith("/"):
            raise InvalidArgumentError(f"working directory {self.working_dir!r} is not an absolute path")
        if self.hostname is not None and not HOSTNAME_PATTERN.fullmatch(self.hostname):
            raise InvalidArgumentError(f"host name {self.hostname!r} is not valid")
        if self.network.mode is NetworkMode.DISABLED and self.network.allow_net:
            raise InvalidArgumentError("allow_net needs the network, which is disabled")

    @property
    def is_job(self) -> bool:
        return self.cmd is not None or self.entrypoint is not None


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
class ImageConfig:
    """The run-time part of an image's configuration (OCI image-spec, config.md)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    architecture: str = ""
    os: str = "linux"
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer blob in the store: `digest` and `size_bytes` as compressed, `media_type` from the manifest."""

    digest: str
    size_bytes: int
    media_type: str
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is wholly in the local store. `reference` is fully qualified, `names` are all that mean it now;
    `source_digest` is what its registry calls it: its index's digest, or the manifest's own."""

    reference: str
    manifest_digest: str
    config_digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]
    size_bytes: int
    pulled_at: datetime
    names: tuple[str, ...] = ()
    source_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootfsDisk:
    """An ext4 file system made from an image: read-only, shared by all its boxes.

    `base_path` is the raw ext4 file, `overlay_path` an empty qcow2 that is backed by it, which a box copies.
    """

    base_path: str
    overlay_path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSize:
    rows: int
    cols: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A further command in a running box. `env` is added to the box's; None or 0 elsewhere: as the box has it."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    user: str | None = None
    tty: bool = False
    stdin: bool = False
    size: TerminalSize | None = None
    privileged: bool = False
    timeout_s: float = 0.0
    detach: bool = False

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise InvalidArgumentError("no command given")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a command ended. `exit_code` is 0..255, 128+N when signal N ended it; `error` says why it could not be
    run at all, if so."""

    exit_code: int
    signal: int = 0
    timed_out: bool = False
    oom_killed: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A piece of the main command's output, as it was written."""

    time: datetime
    stream: Literal["stdout", "stderr"]
    data: bytes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """How one registry host is reached. `host` may carry a port and a path (`ghcr.io/myorg`)."""

    host: str
    transport: Literal["https", "http"] = "https"
    skip_verify: bool = False
    search: bool = False
    ca_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """What `--config`, the environment and global flags amount to. `home_dir` None: the default home."""

    home_dir: str | None = None
    image_registries: tuple[RegistryConfig, ...] = ()
    accel: Accel | None = None
    max_layer_decompressed_bytes: int = 20 * 1024**3
