"""Facts about this home and host, for `boxlite info`."""

from __future__ import annotations

import asyncio

from engine import host
from engine.errors import BoxliteError
from engine.images.store import ImageStore
from engine.model import Accel, BoxStatus, RuntimeInfo
from engine.runtime.context import Context
from engine.runtime.records import list_boxes
from engine.version import __version__
from engine.vmm.guest_image import find_guest_image


async def runtime_info(context: Context) -> RuntimeInfo:
    """Counts are of this moment; accelerators are those not yet found out not to work."""
    boxes = await list_boxes(context, include_inactive=True)
    counts = {status: sum(box.status is status for box in boxes) for status in BoxStatus}
    accel, virtualization = await asyncio.to_thread(_virtualization, context)
    guest = find_guest_image(context.layout)
    return RuntimeInfo(
        version=__version__,
        home_dir=str(context.layout.home),
        virtualization=virtualization,
        accel=accel,
        os=host.operating_system(),
        arch=host.machine_arch(),
        cpus=host.cpu_count(),
        memory_mib=host.memory_mib(),
        qemu_version=await asyncio.to_thread(_qemu_version),
        guest_digest=None if guest is None else guest.digest,
        boxes_total=len(boxes),
        boxes_running=counts[BoxStatus.RUNNING] + counts[BoxStatus.PAUSED] + counts[BoxStatus.STOPPING],
        boxes_stopped=counts[BoxStatus.STOPPED] + counts[BoxStatus.FAILED],
        boxes_configured=counts[BoxStatus.CONFIGURED],
        images_count=len(await ImageStore(context.layout).list_images()),
    )


def _virtualization(context: Context) -> tuple[Accel, str]:
    """The accelerator the next box gets, and whether that is hardware."""
    verdicts = host.AccelVerdicts(context.layout.home)
    asked = context.config.accel or host.read_settings().accel
    accel = asked or host.accel_candidates(verdicts)[0]
    if accel is not Accel.TCG:
        return accel, "available"
    for candidate in host.examine_accels():
        verdict = verdicts.find(candidate.accel)
        problem = candidate.problem or (verdict.reason if verdict is not None and not verdict.usable else "")
        if problem:
            return accel, f"unavailable: {problem}"
    return accel, "unavailable: software emulation was asked for"


def _qemu_version() -> str | None:
    try:
        return host.qemu_version()
    except BoxliteError:
        return None
