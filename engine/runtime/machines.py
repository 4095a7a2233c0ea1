"""Which machine a box gets: accelerator, shape, template."""

from __future__ import annotations

import asyncio

from engine import host
from engine.errors import DeadlineError, EngineError, InvalidArgumentError, UnsupportedEngineError
from engine.layout import Layout
from engine.model import DEFAULT_DISK_SIZE_GB, Accel, BoxSpec, NetworkMode, RuntimeConfig, SecurityOptions
from engine.progress import Progress, ProgressSink
from engine.runtime.restrictions import is_restricted
from engine.shim.usual import CARD, NONE, PORT, kind_of
from engine.vmm.arguments import CONSOLES, CPU_MODELS, MACHINES
from engine.vmm.saved import find_template
from engine.vmm.spec import GuestFiles, Shape, Template

TCG_WARNING = (
    "{accel} is not usable on this host ({reason}); machines run under software emulation, some ten times slower, "
    "and the jail alone is then the wall between box and host"
)


def make_shape(accel: Accel, spec: BoxSpec, guest: GuestFiles, qemu_version: str) -> Shape:
    """The shape of a box's machine. Raises UnsupportedEngineError on a processor no machine is defined for."""
    arch = host.machine_arch()
    if arch not in MACHINES:
        raise UnsupportedEngineError(f"processor {arch}", hint="boxes run on x86_64 and aarch64 hosts")
    return Shape(
        accel=accel,
        cpu_model=CPU_MODELS[accel, arch],
        machine=MACHINES[arch],
        arch=arch,
        qemu_version=qemu_version,
        cpus=spec.cpus,
        memory_mib=spec.memory_mib,
        network=spec.network.mode is NetworkMode.ENABLED and not is_restricted(spec),
        guest_digest=guest.digest,
        console=CONSOLES[arch],
    )


async def choose_machine(
    layout: Layout, config: RuntimeConfig, spec: BoxSpec, guest: GuestFiles, progress: ProgressSink
) -> tuple[Shape, Template | None]:
    """The shape and template for a box, on the best accelerator that works.

    The first template of an accelerator is its test: one that misses its deadline or kills QEMU is marked unusable until
    the host boots again, with one warning, and the next is taken. Raises EngineError when none works.
    """
    qemu_version = await asyncio.to_thread(host.qemu_version)
    verdicts = host.AccelVerdicts(layout.home)
    asked = config.accel or host.read_settings().accel
    for accel in (asked,) if asked is not None else host.accel_candidates(verdicts):
        shape = make_shape(accel, spec, guest, qemu_version)
        try:
            template = await _template_of(layout, shape, guest, spec, progress)
        except (DeadlineError, EngineError) as error:
            if accel is Accel.TCG or asked is not None:
                raise
            verdicts.mark_unusable(accel, error.message)
            warning = TCG_WARNING.format(accel=accel, reason=error.message)
            progress(Progress(stage="warning", item=accel, message=warning))
            continue
        return shape, template
    raise EngineError("no accelerator works on this host", hint="`boxlite system doctor` says why")


async def _template_of(
    layout: Layout, shape: Shape, guest: GuestFiles, spec: BoxSpec, progress: ProgressSink
) -> Template | None:
    """The template of a shape; None for a box that boots cold. An accelerator without a template yet is tried first
    with a guest of a few bytes: that takes milliseconds, waiting for a machine that hangs takes a minute."""
    found = find_template(layout, shape)
    if found is not None and not spec.cold_boot:
        return found
    if shape.accel is not Accel.TCG:
        verdict = await host.probe_accel(shape.accel)
        if not verdict.usable:
            raise EngineError(verdict.reason)
    if spec.cold_boot:
        return None
    from engine.vmm.template import ensure_template

    return await ensure_template(layout, shape, guest, security=SecurityOptions(), progress=progress)


def usual_machine(layout: Layout, spec: BoxSpec) -> tuple[str, ...]:
    """What a shim is told so that it starts ahead the machine which a box like this had last (engine.shim.usual); nothing for a box
    whose machine is its own."""
    security = spec.security
    is_its_own = (
        spec.cold_boot
        or spec.volumes
        or (spec.disk_size_gb or 0) > DEFAULT_DISK_SIZE_GB
        or (security.uid, security.gid) != (None, None)
        or not security.jailer_enabled
    )
    if is_its_own:
        return ()
    link = PORT if is_restricted(spec) else CARD if spec.network.mode is NetworkMode.ENABLED else NONE
    return str(layout.home), kind_of(link, spec.cpus, spec.memory_mib)


def check_cpus(spec: BoxSpec) -> None:
    """Raises InvalidArgumentError when a box asks for more processors than QEMU can give it here."""
    available = host.cpu_count()
    if spec.cpus > max(available, 1) * 4:
        raise InvalidArgumentError(
            f"{spec.cpus} cpus is more than four times the {available} of this host",
            hint=f"ask for up to {available}",
        )
