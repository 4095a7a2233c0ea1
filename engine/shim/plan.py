"""What a starter tells a shim, and what the shim answers, over their lifeline.

Both are the same program of the same user, parent and child, so the plan and the verdict travel pickled, each after its length;
answers are JSON lines.
"""

from __future__ import annotations

import struct
from dataclasses import field

from engine.model import BoxState, HealthCheck, PortSpec, RestartPolicy, SecurityOptions
from engine.net.plan import Restriction
from engine.net.secrets import SecretsGrant
from engine.values import dataclass
from engine.vmm.spec import VmSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGrant:
    """The network process of a box: published `ports` have real host ports; `resolver_file` names the host's name servers
    (resolv.conf(5)), `name_server` the one of them that passt asks; `ipv6`: the host has it, and the process can do it; `gvproxy` is the program where passt is missing.

    With a `restriction` that process is the gateway, and the machine has no network device.
    """

    ports: tuple[PortSpec, ...] = ()
    host_access: bool = True
    resolver_file: str | None = None
    name_server: str | None = None
    ipv6: bool = False
    gvproxy: str | None = None
    restriction: Restriction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """Everything a shim needs to run a box. `attached`: the box ends with the process that started it; `collects`: that
    process reads the main command's output and says when it has its end. `awaits_commands`: the box is there for what `exec`
    runs in it.

    The requests (serialized wire.InitRequest and wire.ContainerInitRequest) are for runs after the first, which the
    restart policy asks for. Times in seconds; 0: none. `returns_to`: the main command does not run, the machine is there
    for the box's files; at the end the box is again what it was.
    """

    box_id: str
    box_name: str
    home: str
    vm: VmSpec
    security: SecurityOptions = field(default_factory=SecurityOptions)
    network: NetworkGrant | None = None
    secrets: SecretsGrant | None = None
    attached: bool = False
    collects: bool = False
    awaits_commands: bool = False
    auto_remove: bool = False
    stop_signal: int = 15
    stop_timeout_s: float = 10.0
    timeout_s: float = 0.0
    auto_stop_s: float = 0.0
    auto_delete_s: float = 0.0
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    health: HealthCheck | None = None
    machine_request: bytes = b""
    container_request: bytes = b""
    returns_to: BoxState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the starter says once, after the plan: the main command runs, or it never will (`failure`)."""

    failure: str | None = None
    exit_code: int | None = None


MESSAGE_HEADER = struct.Struct(">I")
"""The length in bytes of what follows."""
RELEASED = b"R"
"""Sent by the starter of an attached box after the verdict: let the box go on when I end."""
COLLECTED = b"C"
"""Sent by it at the end: I have the output and the exit status, the machine may go."""
