"""What a runtime and a box are asked to be, in the spellings of the public interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from boxlite.security import SecurityOptions
from engine.model import DEFAULT_CPUS, DEFAULT_IMAGE, DEFAULT_MEMORY_MIB, DEFAULT_STOP_TIMEOUT_S, PullPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRegistry:
    """How one registry is reached. `host` has no scheme, and may have a port and a path; `search`: short names are
    looked for here. Username and password go together."""

    host: str
    transport: Literal["https", "http"] = "https"
    skip_verify: bool = False
    search: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a runtime is opened with. `home_dir` None: $BOXLITE_HOME, else ~/.boxlite. `event_listener`: any object with
    some of the methods of EventListener."""

    home_dir: str | Path | None = None
    image_registries: Sequence[ImageRegistry] = ()
    event_listener: object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """A directory or file of the host, or a named volume, at `guest_path` in the box: give exactly one origin."""

    guest_path: str
    host_path: str | Path | None = None
    managed_volume: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """A port of the box on the host. `host_port` None: the system picks one; see `BoxInfo.ports`."""

    guest_port: int
    host_port: int | None = None
    protocol: str = "tcp"
    host_ip: str = "0.0.0.0"  # noqa: S104  what the seeds bind


class VolumeDict(TypedDict, total=False):
    """`VolumeMount` as a dict."""

    host_path: str | Path
    managed_volume: str
    guest_path: str
    read_only: bool


class PortDict(TypedDict, total=False):
    """`PortMapping` as a dict."""

    guest_port: int
    host_port: int | None
    protocol: str
    host_ip: str


Volume = VolumeMount | VolumeDict | tuple[str | Path, str] | tuple[str | Path, str, str | bool]
"""`(host, guest)`, `(host, guest, "ro" | "rw" | read_only)`, a VolumeMount, or its fields as a dict."""
Port = PortMapping | PortDict | int | tuple[int, int] | tuple[int, int, str] | tuple[int, int, str, str]
"""`(host, guest[, protocol[, host_ip]])`, a port of the box alone, a PortMapping, or its fields as a dict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundNetworkSpec:
    """What a box may reach: `mode`, `allow_net` and `deny_net` of NetworkSpec."""

    mode: str = "enabled"
    allow_net: Sequence[str] = ()
    deny_net: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundNetworkSpec:
    """Who may reach a box. With `mode` "disabled" a published port is refused; tunnels remain."""

    mode: str = "enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """The network of a box. `mode` is "enabled" or "disabled" (no interface but loopback).

    With `allow_net` nothing else can be reached, with `deny_net` anything else: names, `*.domain`, addresses and ranges,
    each with an optional `:port`. Empty ones forbid nothing. `host_access` False closes `host.boxlite.internal`. `dns` are
    addresses of name servers, `add_host` pairs of name and address; `tx_kbps` and `rx_kbps` cap what it sends and
    receives, in kilobits per second, 0 for no cap. `outbound` and `inbound` are another way to say `mode` and the
    rules; both ways at once are an error.
    """

    mode: str | None = None
    allow_net: Sequence[str] = ()
    deny_net: Sequence[str] = ()
    host_access: bool = True
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    add_host: Sequence[tuple[str, str]] = ()
    tx_kbps: int = 0
    rx_kbps: int = 0
    outbound: OutboundNetworkSpec | None = None
    inbound: InboundNetworkSpec | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that requests of the box may carry and the box never has. In the box, `placeholder` (default:
    `<BOXLITE_SECRET:name>`) stands for `value`, in header values and the query of URLs of HTTPS requests to `hosts`: names, or
    `*.domain` for one level below it, each with an optional `:port` (443). The value stays in the memory of this program
    and of the process that holds the box."""

    name: str
    value: str = field(repr=False)
    hosts: Sequence[str] = ()
    placeholder: str | None = None

    def get_placeholder(self) -> str:
        """What the box sees in place of the value."""
        return self.placeholder or f"<BOXLITE_SECRET:{self.name}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckOptions:
    """`command` runs in the box; exit status 0 is healthy. Times in seconds."""

    command: Sequence[str]
    interval: float = 30.0
    timeout: float = 10.0
    retries: int = 3
    start_period: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCapabilities:
    """Capabilities beyond and without Docker's default set; names with or without CAP_, or ALL."""

    add: Sequence[str] = ()
    drop: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancedBoxOptions:
    """Options that few need."""

    security: SecurityOptions | None = None
    health_check: HealthCheckOptions | None = None
    capabilities: ContainerCapabilities | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxOptions:
    """What a box is asked to be: give an `image` or a `rootfs_path`; with neither it is alpine:latest.

    A box without `cmd` and `entrypoint` stays up for whatever is executed in it. `env` is a dict or pairs; sizes are
    as named; `auto_stop`, `auto_delete`, `timeout` and `stop_timeout` in seconds, 0 for never. `auto_remove`: gone once
    it stops. `detach` False: it ends with this program. `init` None: a first process that passes signals on and reaps,
    for boxes without a command of their own. `security` and `advanced.security` are the same; give one of them.
    """

    image: str | None = None
    rootfs_path: str | Path | None = None
    cpus: int = DEFAULT_CPUS
    memory_mib: int = DEFAULT_MEMORY_MIB
    disk_size_gb: int | None = None
    working_dir: str | None = None
    env: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    entrypoint: Sequence[str] | None = None
    cmd: Sequence[str] | None = None
    user: str | None = None
    hostname: str | None = None
    tty: bool = False
    volumes: Sequence[Volume] = ()
    ports: Sequence[Port] = ()
    network: NetworkSpec | None = None
    secrets: Sequence[Secret] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    auto_remove: bool = True
    detach: bool = False
    auto_stop: float = 0.0
    auto_delete: float = 0.0
    auto_resume: bool = True
    timeout: float = 0.0
    stop_timeout: float = DEFAULT_STOP_TIMEOUT_S
    read_only: bool = False
    init: bool | None = None
    security: SecurityOptions | None = None
    advanced: AdvancedBoxOptions | None = None
    platform: str | None = None
    pull: PullPolicy = PullPolicy.MISSING

    @property
    def source_image(self) -> str | None:
        """The image it is made from; None with a `rootfs_path`."""
        return (self.image or DEFAULT_IMAGE) if self.rootfs_path is None else self.image
