"""The plan of a start: everything that can be refused before a process is started.

image ─► base and overlay ─► template ─► ports, network, secrets ─► container
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine import host
from engine.disks.qcow2 import create_overlay
from engine.errors import PortInUseError
from engine.model import BoxRecord, BoxSpec, BoxStatus, ImageConfig, NetworkMode, PortSpec, TerminalSize
from engine.net.plan import check_ports_for_passt, plan_ports
from engine.net.programs import find_substitute
from engine.process import signal_number
from engine.runtime import images
from engine.runtime.context import Context
from engine.runtime.directories import make_directories
from engine.runtime.guest import get_guest_files
from engine.runtime.machines import check_cpus, choose_machine
from engine.runtime.requests import container_init_request, guest_init_request, published_ports
from engine.runtime.restrictions import is_restricted, restriction_of
from engine.runtime.shares import mounts_of, shares_of
from engine.runtime.stopwatch import Stopwatch
from engine.shim.plan import LaunchPlan, NetworkGrant
from engine.vmm.spec import VmSpec
from engine.vmm.tsc import clock_args


async def make_plan(
    context: Context,
    record: BoxRecord,
    *,
    attached: bool,
    held: bool,
    size: TerminalSize | None,
    watch: Stopwatch,
    files_only: bool = False,
) -> LaunchPlan:
    """Everything that can be refused before a process is started. `files_only`: the command will not run, and needs no
    secrets."""
    spec, box = record.spec, context.layout.box(record.id)
    check_cpus(spec)
    with watch.stage("image_prepare_ms"):
        source = await images.source_of_box(context, record)
    with watch.stage("filesystem_setup_ms"):
        make_directories(box)
        disk = await images.base_of_box(context, record)
        if not box.disk_path.exists():
            await create_overlay(disk, box.disk_path)
    with watch.stage("guest_rootfs_ms"):
        guest = await get_guest_files(context)
        shape, template = await choose_machine(context.layout, context.config, spec, guest, context.progress)
    with watch.stage("box_config_ms"):
        network = await _network_of(context, spec, source.config)
        secrets = None
        if spec.secrets and network is not None and not files_only:
            from engine.runtime.secrets import get_secrets_grant

            secrets = await get_secrets_grant(context, record)
    shares = shares_of(context.layout, record)
    container = container_init_request(
        record,
        source.config,
        attached=attached,
        size=size,
        cache_dir=context.layout.jail_dir,
        mounts=mounts_of(spec.volumes, shares),
        ca_certificates=() if secrets is None else (secrets.authority.certificate_pem,),
    )
    return LaunchPlan(
        box_id=record.id,
        box_name=record.name,
        home=str(context.layout.home),
        vm=VmSpec(
            shape=shape,
            guest=guest,
            share_path=str(box.mounts_dir),
            shares=shares,
            disk_path=str(box.disk_path),
            base_path=disk.base_path,
            disk_size_bytes=disk.size_bytes,
            template=template,
            seccomp=spec.security.seccomp_enabled,
            kernel_args=() if template else await asyncio.to_thread(clock_args, shape.accel),
        ),
        security=spec.security,
        network=network,
        secrets=secrets,
        attached=attached or held,
        collects=attached,
        awaits_commands=not (spec.is_job or attached),
        auto_remove=spec.auto_remove,
        stop_signal=signal_number(spec.stop_signal or source.config.stop_signal or "TERM"),
        stop_timeout_s=spec.stop_timeout_s,
        timeout_s=spec.timeout_s,
        auto_stop_s=spec.auto_stop_s,
        auto_delete_s=spec.auto_delete_s,
        restart=spec.restart,
        health=spec.health,
        machine_request=guest_init_request(
            record,
            ephemeral=spec.auto_remove,
            ipv6=network is not None and network.ipv6,
            name_server=None if network is None else network.name_server,
        ).SerializeToString(),
        container_request=container.SerializeToString(),
    )


async def _network_of(context: Context, spec: BoxSpec, image: ImageConfig) -> NetworkGrant | None:
    """What the network process is granted; None without a network. Raises PortInUseError, UnsupportedError where
    no program can connect it."""
    if spec.network.mode is NetworkMode.DISABLED:
        return None
    restriction = restriction_of(spec) if is_restricted(spec) else None
    gvproxy = find_substitute() if restriction is None else None
    ports = await _plan_ports(context, published_ports(spec, image))
    by_passt = restriction is None and gvproxy is None
    if by_passt:
        check_ports_for_passt(ports)
    resolver_file = host.resolver_file()
    ipv6 = gvproxy is None and host.has_ipv6()
    return NetworkGrant(
        ports=ports,
        host_access=spec.network.host_access,
        resolver_file=resolver_file,
        name_server=host.asked_server(resolver_file, ipv6=ipv6) if by_passt else None,
        ipv6=ipv6,
        gvproxy=gvproxy,
        restriction=restriction,
    )


async def _plan_ports(context: Context, asked: Sequence[PortSpec]) -> tuple[PortSpec, ...]:
    """Host ports for all of them. Raises PortInUseError naming the box or process that has one of them."""
    try:
        return plan_ports(asked)
    except PortInUseError as error:
        for port in asked:
            for holder in await context.store.list([status for status in BoxStatus if status.is_active]):
                if any(
                    (one.host_port, one.protocol) == (port.host_port, port.protocol)
                    for one in holder.state.ports
                ):
                    raise PortInUseError(
                        f"host port {port.host_port}/{port.protocol} is in use by box {holder.name}",
                        hint=f"stop that box (`boxlite stop {holder.name}`), or publish another port with -p HOST:BOX",
                    ) from error
        raise
