"""What starting a box would do, found out without starting, pulling or changing anything.

Every part comes from the function that the start itself uses, given what is there now; where the start would first make
something (pull the image, build the guest system, save a machine), that is said instead.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from engine import host
from engine.errors import EngineError, ImageNotFoundError
from engine.host.accel import examine_accels
from engine.images.local_stores import parse_local_source
from engine.images.pull import preview
from engine.images.pull import pull as pull_image
from engine.jailer.grants import Jail
from engine.model import (
    DEFAULT_DISK_SIZE_GB,
    Accel,
    BoxRecord,
    BoxSpec,
    BoxState,
    BoxStatus,
    Image,
    ImageConfig,
    NetworkMode,
    PortSpec,
    PullPolicy,
    VolumeKind,
    utc_now,
)
from engine.net.plan import check_ports_for_passt, plan_ports
from engine.process import find_program
from engine.runtime.capabilities import effective_capabilities
from engine.runtime.context import Context
from engine.runtime.guest import guest_files
from engine.runtime.machines import check_cpus, make_shape
from engine.runtime.requests import container_argv, container_env, published_ports
from engine.runtime.restrictions import is_restricted
from engine.runtime.shares import shares_of
from engine.runtime.support import check_support
from engine.values import dataclass
from engine.vmm.confinement import machine_jail
from engine.vmm.guest_image import find_guest_image, guest_inputs
from engine.vmm.saved import find_template
from engine.vmm.spec import GuestFiles, Shape, VmSpec

PLANNED_ID = "BOX"
"""Stands in paths for the id that the box would get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """What the image's name means. `missing_bytes` are still to be fetched; None: it is made from a root file system."""

    name: str
    manifest_digest: str | None
    config: ImageConfig
    missing_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What a start would do. `env_names` are names only: values may be secrets. `first` are things that would be made
    before, in words; `restricted`: the network is only what the gateway lets through; `passed_over` says why better accelerators would not be taken."""

    image: PlannedImage
    argv: tuple[str, ...]
    env_names: tuple[str, ...]
    user: str
    working_dir: str
    capabilities: tuple[str, ...]
    ports: tuple[PortSpec, ...]
    restricted: bool
    accel: Accel
    passed_over: dict[str, str]
    template_key: str | None
    disk_size_gb: int
    jail: Jail
    first: tuple[str, ...]


async def foresee(context: Context, spec: BoxSpec, pull: PullPolicy) -> Foresight:
    """Raises what create and start would raise for a spec that cannot be kept, a port that is taken, an image that
    cannot be had or a volume that is not there."""
    check_support(spec, context.progress)
    check_cpus(spec)
    capabilities = effective_capabilities(spec.cap_add, spec.cap_drop, privileged=spec.privileged)
    image = await _image(context, spec, pull)
    record = BoxRecord(
        id=PLANNED_ID,
        name=PLANNED_ID,
        spec=replace(
            spec, volumes=tuple(one for one in spec.volumes if one.kind is not VolumeKind.ANONYMOUS)
        ),
        state=BoxState(status=BoxStatus.CONFIGURED, changed_at=utc_now()),
        created_at=utc_now(),
    )
    shares = await asyncio.to_thread(shares_of, context.layout, record)
    guest, first = _guest(context)
    shape, passed_over = await _shape(context, spec, guest)
    template = None if spec.cold_boot else find_template(context.layout, shape)
    if template is None and not spec.cold_boot:
        first = (*first, "boot and save a machine of this shape, once")
    if image.missing_bytes:
        first = ("pull the image", *first)
    vm = VmSpec(
        shape=shape,
        guest=guest,
        share_path=str(context.layout.box(PLANNED_ID).mounts_dir),
        shares=shares,
        disk_size_bytes=0,
        template=template,
    )
    networked = spec.network.mode is NetworkMode.ENABLED
    env = container_env(spec, image.config, hostname=spec.hostname or PLANNED_ID)
    return Foresight(
        image=image,
        argv=container_argv(spec, image.config),
        env_names=tuple(sorted(entry.partition("=")[0] for entry in env)),
        user=spec.user or image.config.user or "root",
        working_dir=spec.working_dir or image.config.working_dir or "/",
        capabilities=tuple(capabilities),
        ports=_ports(spec, image.config) if networked else (),
        restricted=is_restricted(spec),
        accel=shape.accel,
        passed_over=passed_over,
        template_key=None if template is None else template.key,
        disk_size_gb=spec.disk_size_gb or DEFAULT_DISK_SIZE_GB,
        jail=await asyncio.to_thread(machine_jail, vm, spec.security, host.qemu_binary()),
        first=first,
    )


def _ports(spec: BoxSpec, config: ImageConfig) -> tuple[PortSpec, ...]:
    """Raises what a start would for ports that cannot be published."""
    ports = plan_ports(published_ports(spec, config))
    if not is_restricted(spec) and find_program("passt") is not None:
        check_ports_for_passt(ports)
    return ports


async def _image(context: Context, spec: BoxSpec, pull: PullPolicy) -> PlannedImage:
    if spec.rootfs is not None:
        config = ImageConfig(cmd=("/bin/sh",))
        return PlannedImage(name=spec.rootfs, manifest_digest=None, config=config, missing_bytes=None)
    assert spec.image is not None
    if pull is not PullPolicy.ALWAYS or parse_local_source(spec.image) is not None:
        try:
            return _stored(await _find_stored(context, spec))
        except ImageNotFoundError:
            if pull is PullPolicy.NEVER or parse_local_source(spec.image) is not None:
                raise
    found = await preview(context.layout, context.config, spec.image, platform=spec.platform)
    return PlannedImage(
        name=found.name,
        manifest_digest=found.manifest_digest,
        config=found.config,
        missing_bytes=found.missing_bytes,
    )


async def _find_stored(context: Context, spec: BoxSpec) -> Image:
    assert spec.image is not None
    local = parse_local_source(spec.image)
    name = spec.image if local is None else local.name
    return await pull_image(
        context.layout, context.config, name, platform=spec.platform, policy=PullPolicy.NEVER
    )


def _stored(image: Image) -> PlannedImage:
    return PlannedImage(
        name=image.reference, manifest_digest=image.manifest_digest, config=image.config, missing_bytes=0
    )


def _guest(context: Context) -> tuple[GuestFiles, tuple[str, ...]]:
    """The guest system in use, or paths of one that would have to be built."""
    image = find_guest_image(context.layout)
    if image is not None and image.inputs == guest_inputs():
        return guest_files(image), ()
    directory = context.layout.guest_dir / "DIGEST"
    return GuestFiles(
        digest="",
        kernel_path=str(directory / "vmlinuz"),
        initramfs_path=str(directory / "initramfs"),
        root_path=str(directory / "root.img"),
    ), ("build the guest system, once",)


async def _shape(context: Context, spec: BoxSpec, guest: GuestFiles) -> tuple[Shape, dict[str, str]]:
    """The shape on the accelerator that the start would try first, and why not on a better one. An accelerator is only
    looked at, not tried."""
    version = await asyncio.to_thread(host.qemu_version)
    verdicts = host.AccelVerdicts(context.layout.home)
    asked = context.config.accel or host.read_settings().accel
    passed_over: dict[str, str] = {}
    for candidate in examine_accels():
        known = verdicts.find(candidate.accel)
        problem = candidate.problem or (known.reason if known is not None and not known.usable else "")
        if asked is not None and candidate.accel is not asked:
            continue
        if problem and asked is None:
            passed_over[candidate.accel.value] = problem
            continue
        return make_shape(candidate.accel, spec, guest, version), passed_over
    raise EngineError("no accelerator works on this host", hint="`boxlite system doctor` says why")
