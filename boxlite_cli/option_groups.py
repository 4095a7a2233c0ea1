"""The options of a box, for `run` and `create`, in groups as help shows them.

Every value stays the text that was typed; `options` makes a spec of the groups. The class variable `section` is the
heading in help.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, ClassVar

from boxlite_cli.process_options import EnvironmentOptions, flag, text
from engine.model import (
    DEFAULT_CPUS,
    DEFAULT_DISK_SIZE_GB,
    DEFAULT_MEMORY_MIB,
    DEFAULT_STOP_TIMEOUT_S,
    HealthCheck,
)
from engine.values import dataclass

HEALTH_DEFAULTS = HealthCheck(command=("true",))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceOptions:
    section: ClassVar[str] = "Resources"

    cpus: Annotated[
        str | None, text("--cpus", metavar="N", help=f"Processors. [default: {DEFAULT_CPUS}]")
    ] = None
    memory: Annotated[
        str | None,
        text(
            "--memory",
            "-m",
            metavar="SIZE",
            help=f"Memory, like 512m or 2g; a number alone is MiB. [default: {DEFAULT_MEMORY_MIB}m]",
        ),
    ] = None
    disk_size: Annotated[
        str | None,
        text(
            "--disk-size",
            metavar="SIZE",
            help=f"Size the disk may grow to, like 20g; a number alone is GiB. [default: {DEFAULT_DISK_SIZE_GB}g]",
        ),
    ] = None
    pids_limit: Annotated[
        str | None, text("--pids-limit", metavar="N", help="Most processes at a time; -1: no limit.")
    ] = None
    ulimit: Annotated[
        list[str], text("--ulimit", metavar="NAME=SOFT[:HARD]", help="Limit of a process; repeatable.")
    ] = field(default_factory=list)
    shm_size: Annotated[str | None, text("--shm-size", metavar="SIZE", help="Size of /dev/shm.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    section: ClassVar[str] = "Network"

    network: Annotated[
        str,
        text(
            "--network",
            "--net",
            metavar="enabled|disabled",
            help="Give the box a network. [default: enabled]",
        ),
    ] = "enabled"
    publish: Annotated[
        list[str],
        text(
            "--publish",
            "-p",
            metavar="[IP:][HOST:]BOX[/udp]",
            help="Make a port of the box a port of the host; repeatable.",
        ),
    ] = field(default_factory=list)
    publish_all: Annotated[
        bool, flag("--publish-all", "-P", help="Publish every port the image exposes.")
    ] = False
    expose: Annotated[
        list[str],
        text("--expose", metavar="PORT[/udp]", help="Count as exposed by the image, for -P; repeatable."),
    ] = field(default_factory=list)
    allow_net: Annotated[
        list[str],
        text(
            "--allow-net",
            metavar="RULE",
            help="Reach only what a rule allows: HOST, *.DOMAIN, ADDRESS or ADDRESS/BITS, each with an optional :PORT, or @FILE; repeatable.",
        ),
    ] = field(default_factory=list)
    deny_net: Annotated[
        list[str],
        text("--deny-net", metavar="RULE", help="Never reach these, whatever is allowed; repeatable."),
    ] = field(default_factory=list)
    host_access: Annotated[
        str,
        text(
            "--host-access",
            metavar="enabled|disabled",
            help="Reach this host as host.boxlite.internal. [default: enabled]",
        ),
    ] = "enabled"
    secret: Annotated[
        list[str],
        text(
            "--secret",
            metavar="NAME[=VALUE],host=HOST[,…]",
            help="Let requests to HOST carry a key that the box only sees a placeholder of; repeatable.",
        ),
    ] = field(default_factory=list)
    hostname: Annotated[
        str | None, text("--hostname", "-h", metavar="NAME", help="Host name in the box. [default: its id]")
    ] = None
    dns: Annotated[list[str], text("--dns", metavar="ADDRESS", help="Name server; repeatable.")] = field(
        default_factory=list
    )
    dns_search: Annotated[
        list[str],
        text("--dns-search", metavar="DOMAIN", help="Domain to complete short names with; repeatable."),
    ] = field(default_factory=list)
    add_host: Annotated[
        list[str], text("--add-host", metavar="NAME:ADDRESS", help="Line for /etc/hosts; repeatable.")
    ] = field(default_factory=list)
    net_tx_kbps: Annotated[
        str | None, text("--net-tx-kbps", metavar="N", help="Most kilobits a second out of the box.")
    ] = None
    net_rx_kbps: Annotated[
        str | None, text("--net-rx-kbps", metavar="N", help="Most kilobits a second into the box.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    section: ClassVar[str] = "Files"

    volume: Annotated[
        list[str],
        text(
            "--volume",
            "-v",
            metavar="[SOURCE:]PATH[:ro]",
            help="Directory of the host, volume, or new anonymous volume; repeatable.",
        ),
    ] = field(default_factory=list)
    mount: Annotated[
        list[str],
        text(
            "--mount",
            metavar="KEY=VALUE,…",
            help="The same spelled out: type=bind|volume|tmpfs,source=,target=,readonly; repeatable.",
        ),
    ] = field(default_factory=list)
    tmpfs: Annotated[
        list[str],
        text(
            "--tmpfs",
            metavar="PATH[:OPTION,…]",
            help="Directory in memory: size=, mode=, ro, exec; repeatable.",
        ),
    ] = field(default_factory=list)
    read_only: Annotated[bool, flag("--read-only", help="Make the box's own files read-only.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivilegeOptions:
    section: ClassVar[str] = "Privileges"

    cap_add: Annotated[
        list[str], text("--cap-add", metavar="CAP", help="Add a capability, or ALL; repeatable.")
    ] = field(default_factory=list)
    cap_drop: Annotated[
        list[str], text("--cap-drop", metavar="CAP", help="Take a capability away, or ALL; repeatable.")
    ] = field(default_factory=list)
    privileged: Annotated[bool, flag("--privileged", help="Give every capability inside the machine.")] = (
        False
    )
    security_opt: Annotated[
        list[str],
        text(
            "--security-opt",
            metavar="NAME=VALUE",
            help="seccomp=unconfined, seccomp=FILE or no-new-privileges; repeatable. [default: Docker's seccomp profile]",
        ),
    ] = field(default_factory=list)
    security: Annotated[
        str | None,
        text(
            "--security",
            metavar="PRESET",
            help="Walls around the machine: enabled, standard, maximum, development or disabled. [default: $BOXLITE_SECURITY or enabled]",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeOptions:
    section: ClassVar[str] = "Life of the box"

    init: Annotated[bool, flag("--init", help="Run a small init that reaps processes.")] = False
    stop_signal: Annotated[
        str | None,
        text(
            "--stop-signal",
            metavar="SIGNAL",
            help="Signal that asks the command to end. [default: the image's, or TERM]",
        ),
    ] = None
    stop_timeout: Annotated[
        str | None,
        text(
            "--stop-timeout",
            metavar="DURATION",
            help=f"How long it may take to end. [default: {DEFAULT_STOP_TIMEOUT_S:g}s]",
        ),
    ] = None
    timeout: Annotated[
        str | None, text("--timeout", metavar="DURATION", help="Stop the box this long after it started.")
    ] = None
    auto_stop: Annotated[
        str | None,
        text("--auto-stop", metavar="DURATION", help="Stop the box when nothing happened for this long."),
    ] = None
    auto_delete: Annotated[
        str | None,
        text("--auto-delete", metavar="DURATION", help="Remove the box when it was stopped for this long."),
    ] = None
    no_auto_resume: Annotated[
        bool, flag("--no-auto-resume", help="Do not start the box by itself for exec, cp and attach.")
    ] = False
    restart: Annotated[
        str | None,
        text(
            "--restart", metavar="POLICY", help="no, on-failure[:N], always or unless-stopped. [default: no]"
        ),
    ] = None
    cold_boot: Annotated[
        bool, flag("--cold-boot", help="Boot the machine afresh instead of from a template.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthOptions:
    section: ClassVar[str] = "Health"

    health_cmd: Annotated[
        str | None,
        text("--health-cmd", metavar="COMMAND", help="Shell command that tells whether the box is well."),
    ] = None
    health_interval: Annotated[
        str | None,
        text(
            "--health-interval",
            metavar="DURATION",
            help=f"Time between checks. [default: {HEALTH_DEFAULTS.interval_s:g}s]",
        ),
    ] = None
    health_timeout: Annotated[
        str | None,
        text(
            "--health-timeout",
            metavar="DURATION",
            help=f"How long a check may take. [default: {HEALTH_DEFAULTS.timeout_s:g}s]",
        ),
    ] = None
    health_retries: Annotated[
        str | None,
        text(
            "--health-retries",
            metavar="N",
            help=f"Failures in a row that make it unhealthy. [default: {HEALTH_DEFAULTS.retries}]",
        ),
    ] = None
    health_start_period: Annotated[
        str | None,
        text(
            "--health-start-period",
            metavar="DURATION",
            help=f"Time after the start in which failures do not count. [default: {HEALTH_DEFAULTS.start_period_s:g}s]",
        ),
    ] = None
    no_healthcheck: Annotated[bool, flag("--no-healthcheck", help="Do no health checks.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    section: ClassVar[str] = "Image"

    entrypoint: Annotated[
        str | None,
        text("--entrypoint", metavar="PROGRAM", help="Program in place of the image's; empty: none."),
    ] = None
    pull: Annotated[
        str,
        text("--pull", metavar="always|missing|never", help="When to ask the registry. [default: missing]"),
    ] = "missing"
    platform: Annotated[
        str | None,
        text("--platform", metavar="OS/ARCH", help="Platform to choose from a multi-platform image."),
    ] = None
    rootfs: Annotated[
        str | None,
        text("--rootfs", metavar="PATH", help="Use this directory or tar archive instead of an image."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOptions:
    section: ClassVar[str] = "Name and labels"

    name: Annotated[
        str | None, text("--name", metavar="NAME", help="Name of the box. [default: one is made up]")
    ] = None
    label: Annotated[list[str], text("--label", "-l", metavar="KEY[=VALUE]", help="Label; repeatable.")] = (
        field(default_factory=list)
    )
    label_file: Annotated[
        list[str], text("--label-file", metavar="FILE", help="Read labels from a file; repeatable.")
    ] = field(default_factory=list)
    cidfile: Annotated[
        str | None, text("--cidfile", metavar="FILE", help="Write the box's id to a new file.")
    ] = None
    no_progress: Annotated[bool, flag("--quiet", "-q", help="Show no progress.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxOptions:
    """Everything that `run` and `create` have in common."""

    environment: EnvironmentOptions
    resources: ResourceOptions
    network: NetworkOptions
    files: FileOptions
    privileges: PrivilegeOptions
    life: LifeOptions
    health: HealthOptions
    image: ImageOptions
    identity: IdentityOptions
