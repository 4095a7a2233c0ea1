"""From a box's spec and its image's configuration to what the agent is asked to do."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from engine import host
from engine.errors import InvalidArgumentError
from engine.model import (
    BoxRecord,
    BoxSpec,
    ExecSpec,
    ImageConfig,
    NetworkMode,
    PortSpec,
    Protocol,
    TerminalSize,
)
from engine.net.plan import HOST_ALIAS, mac_of, tcp_server
from engine.runtime.capabilities import effective_capabilities
from engine.runtime.restrictions import is_restricted
from engine.seccomp.container import container_filter
from guest.wire import portal_pb2 as wire
from guest.wire.constants import (
    BOX_ADDRESS,
    BOX_ADDRESS6,
    BOX_MTU,
    BOX_PREFIX_LENGTH,
    BOX_PREFIX_LENGTH6,
    DNS_ADDRESS,
    DNS_ADDRESS6,
    HOST_ADDRESS,
    HOST_ADDRESS6,
    LINK_ADDRESS6,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENTROPY_BYTES = 256
RLIM_COUNT = 2**64
"""A limit of -1 is the largest number there is, RLIM_INFINITY (getrlimit(2))."""


def guest_init_request(
    record: BoxRecord, *, ephemeral: bool, ipv6: bool = False, name_server: str | None = None
) -> wire.InitRequest:
    """Identity, clock and entropy of a machine that has just woken from a template. `ipv6`: the host has it; `name_server`: where the
    network process sends the box's questions, if it says so."""
    spec = record.spec
    hostname = hostname_of(record)
    request = wire.InitRequest(
        box_id=record.id,
        hostname=hostname,
        machine_id=hashlib.sha256(f"machine-id {record.id}".encode()).hexdigest()[:32],
        entropy=secrets.token_bytes(ENTROPY_BYTES),
        realtime_ns=time.time_ns(),
        ephemeral=ephemeral,
        dns_search=spec.network.dns_search,
    )
    if spec.network.mode is not NetworkMode.DISABLED:
        request.network.CopyFrom(
            wire.Network(
                mac=mac_of(record.id),
                address=f"{BOX_ADDRESS}/{BOX_PREFIX_LENGTH}",
                gateway=HOST_ADDRESS,
                mtu=BOX_MTU,
                announce=bool(spec.ports or spec.publish_all),
                redirect=is_restricted(spec),
            )
        )
        if ipv6:
            request.network.address6 = f"{BOX_ADDRESS6}/{BOX_PREFIX_LENGTH6}"
            request.network.gateway6 = HOST_ADDRESS6
            request.hosts.add(address=BOX_ADDRESS6, names=[hostname])
            if not is_restricted(spec) and any(":" in port.host_ip for port in spec.ports):
                request.network.link_address6 = f"{LINK_ADDRESS6}/{BOX_PREFIX_LENGTH6}"
        if spec.network.host_access:
            request.hosts.add(address=HOST_ADDRESS, names=[HOST_ALIAS])
        own = DNS_ADDRESS6 if name_server is not None and ":" in name_server else DNS_ADDRESS
        restricted = is_restricted(spec)  # then the gateway asks the servers that were given
        request.dns.extend((DNS_ADDRESS,) if restricted else spec.network.dns or (own,))
        if name_server is not None:
            request.network.name_server = tcp_server(name_server) or ""
    for name, address in spec.network.add_host:
        request.hosts.add(address=HOST_ADDRESS if address == "host-gateway" else address, names=[name])
    return request


def hostname_of(record: BoxRecord) -> str:
    """As Docker: what was asked for, else the id."""
    return record.spec.hostname or record.id[:12]


def container_argv(spec: BoxSpec, config: ImageConfig) -> tuple[str, ...]:
    """Entrypoint and command as Docker combines them: a given entrypoint drops the image's command.

    Raises InvalidArgumentError when there is nothing to run.
    """
    entrypoint = config.entrypoint if spec.entrypoint is None else spec.entrypoint
    image_cmd = config.cmd if spec.entrypoint is None else ()
    cmd = image_cmd if spec.cmd is None else spec.cmd
    argv = (*entrypoint, *cmd)
    if not argv or not argv[0]:
        raise InvalidArgumentError(
            "the image names no command and none was given",
            hint="give one after the image: boxlite run IMAGE COMMAND",
        )
    return argv


def container_env(spec: BoxSpec, config: ImageConfig, *, hostname: str) -> list[str]:
    """PATH, HOSTNAME and TERM, then the image's variables, then the placeholders of secrets, then the box's; later ones
    win."""
    merged = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if spec.tty:
        merged["TERM"] = "xterm"
    for entry in config.env:
        name, _, value = entry.partition("=")
        merged[name] = value
    merged.update((secret.variable, secret.token) for secret in spec.secrets)
    merged.update(spec.env)
    return [f"{name}={value}" for name, value in merged.items()]


def container_init_request(
    record: BoxRecord,
    config: ImageConfig,
    *,
    attached: bool,
    size: TerminalSize | None,
    cache_dir: Path,
    mounts: Sequence[wire.Mount] = (),
    ca_certificates: Sequence[str] = (),
) -> wire.ContainerInitRequest:
    """The container of a box; `cache_dir` keeps its seccomp filter where that is not the usual one. Raises InvalidArgumentError for a spec that cannot be run.

    A resumable box that nobody attaches to has an open stdin on which nothing ever comes: the shell that images have
    for a command then waits for the execs the box was made for, instead of ending at once.
    """
    spec = record.spec
    capabilities = effective_capabilities(spec.cap_add, spec.cap_drop, privileged=spec.privileged)
    return wire.ContainerInitRequest(
        argv=container_argv(spec, config),
        env=container_env(spec, config, hostname=hostname_of(record)),
        working_dir=spec.working_dir or config.working_dir,
        create_working_dir=not spec.working_dir,
        user=spec.user or config.user,
        tty=spec.tty,
        stdin=spec.stdin_open or not (attached or spec.is_job),
        size=_size(size),
        mounts=mounts,
        capabilities=capabilities,
        seccomp_filter=container_filter(
            spec.seccomp,
            capabilities,
            privileged=spec.privileged,
            arch=host.machine_arch(),
            cache_dir=cache_dir,
        ),
        no_new_privileges=spec.no_new_privileges,
        privileged=spec.privileged,
        read_only=spec.read_only,
        pids_limit=spec.pids_limit or 0,
        shm_size_bytes=spec.shm_size_bytes or 0,
        ulimits=[
            wire.Ulimit(name=u.name, soft=u.soft % RLIM_COUNT, hard=u.hard % RLIM_COUNT) for u in spec.ulimits
        ],
        init_process=spec.init,
        ca_certificates=ca_certificates,
    )


def published_ports(spec: BoxSpec, config: ImageConfig) -> tuple[PortSpec, ...]:
    """The ports asked for, and with `publish_all` those the image exposes (`80/tcp`), each on a host port of its own."""
    asked = {(port.box_port, port.protocol) for port in spec.ports}
    exposed = []
    for entry in config.exposed_ports if spec.publish_all else ():
        number, _, protocol = entry.partition("/")
        key = (int(number), Protocol(protocol or "tcp"))
        if key not in asked:
            exposed.append(PortSpec(box_port=key[0], protocol=key[1]))
    return (*spec.ports, *exposed)


def exec_request(spec: ExecSpec, execution_id: str) -> wire.ExecRequest:
    return wire.ExecRequest(
        execution_id=execution_id,
        argv=spec.argv,
        env=[f"{name}={value}" for name, value in spec.env],
        working_dir=spec.working_dir or "",
        user=spec.user or "",
        tty=spec.tty,
        stdin=spec.stdin,
        size=_size(spec.size),
        timeout_ms=int(spec.timeout_s * 1000),
        privileged=spec.privileged,
        detach=spec.detach,
    )


def _size(size: TerminalSize | None) -> wire.TerminalSize | None:
    return None if size is None else wire.TerminalSize(rows=size.rows, cols=size.cols)
