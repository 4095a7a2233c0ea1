"""What a box is asked to be."""

from __future__ import annotations

import re
from dataclasses import field
from enum import StrEnum

from engine.errors import InvalidArgumentError
from engine.model.network import NetworkMode, NetworkSpec, PortSpec
from engine.model.secrets import SecretSpec, check_distinct
from engine.model.security import SecurityOptions
from engine.values import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """One mount: `source` is an absolute host path, a volume's name or id, or None (anonymous, tmpfs). `no_copy`: an empty
    volume stays empty, whatever the image has at `target`. `tmpfs_exec`: programs may be started from the tmpfs."""

    kind: VolumeKind
    target: str
    source: str | None = None
    read_only: bool = False
    tmpfs_size_bytes: int | None = None
    tmpfs_mode: int | None = None
    tmpfs_exec: bool = False
    no_copy: bool = False

    def __post_init__(self) -> None:
        if not self.target.startswith("/"):
            raise InvalidArgumentError(f"volume path {self.target!r} in the box is not absolute")


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
    command is never run twice without being asked); one with neither is *resumable*. `seccomp` empty: Docker's default
    profile; else `unconfined` or a profile's JSON.
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
    secrets: tuple[SecretSpec, ...] = ()
    publish_all: bool = False
    volumes: tuple[VolumeSpec, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    auto_remove: bool = False
    detach: bool = False
    security: SecurityOptions = field(default_factory=SecurityOptions)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    seccomp: str = ""
    no_new_privileges: bool = False
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
        check_distinct(self.secrets)
        if self.network.mode is NetworkMode.DISABLED and self.network.allow_net:
            raise InvalidArgumentError("allow_net needs the network, which is disabled")

    @property
    def is_job(self) -> bool:
        return self.cmd is not None or self.entrypoint is not None
