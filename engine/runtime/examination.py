"""Why a box is as it is: the evidence, gathered without disturbing anything.

What it probably means is told by `diagnosis`, a pure function of the evidence.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

from engine import host
from engine.fsutil import tail_lines
from engine.layout import BoxLayout
from engine.model import BoxRecord
from engine.runtime.attempts import FailedStart, find_failure
from engine.runtime.context import Context
from engine.runtime.diagnosis import Diagnosis, diagnose
from engine.values import dataclass

STAGES = {
    "image_prepare_ms": "find the image",
    "filesystem_setup_ms": "make the disk",
    "guest_rootfs_ms": "choose the machine, or build it",
    "box_config_ms": "set up network and ports",
    "box_spawn_ms": "start the machine",
    "container_init_ms": "reach the agent, run the command",
}
"""The stages of a start in their order, by their names in StageTimings, in words."""
TAIL_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a start. `took_ms` None: it was not reached, or nobody measured it."""

    name: str
    title: str
    took_ms: float | None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The last lines of a log."""

    name: str
    path: Path
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """`failure` is the last start if that failed; `stages` are those of the last start, failed or not."""

    record: BoxRecord
    failure: FailedStart | None
    stages: tuple[Stage, ...]
    tails: tuple[Tail, ...]
    facts: dict[str, str]
    diagnosis: Diagnosis


async def examine(context: Context, record: BoxRecord) -> Examination:
    """Look at a box, whatever its state."""
    return await asyncio.to_thread(_examine, context, record)


def _examine(context: Context, record: BoxRecord) -> Examination:
    box = context.layout.box(record.id)
    failure = find_failure(box)
    if failure is not None and record.state.started_at is not None and _is_older(failure, record):
        failure = None
    tails = tuple(tail for tail in _tails(box) if tail.lines)
    return Examination(
        record=record,
        failure=failure,
        stages=_stages(record, failure),
        tails=tails,
        facts=_facts(context, record),
        diagnosis=diagnose(record, failure, {tail.name: tail.lines for tail in tails}),
    )


def _is_older(failure: FailedStart, record: BoxRecord) -> bool:
    """Has the box come up since?"""
    return record.state.timings.total_ms is not None and failure.happened_at < record.state.changed_at


def _stages(record: BoxRecord, failure: FailedStart | None) -> tuple[Stage, ...]:
    measured = asdict(record.state.timings) if failure is None else dict(failure.stages_ms)
    failed = "" if failure is None else failure.stage
    return tuple(
        Stage(name=name, title=title, took_ms=measured.get(name), failed=name == failed)
        for name, title in STAGES.items()
    )


def _tails(box: BoxLayout) -> list[Tail]:
    return [
        Tail(name=name, path=path, lines=tuple(tail_lines(path)[-TAIL_LINES:]))
        for name, path in (
            ("console", box.console_log),
            ("qemu", box.qemu_log),
            ("shim", box.shim_log),
        )
    ]


def _facts(context: Context, record: BoxRecord) -> dict[str, str]:
    """What is worth knowing of the host and the machine."""
    accel = record.state.accel
    return {
        "host": f"{host.system_name()}, kernel {host.kernel_release()}, {host.machine_arch()}",
        "processors": f"{host.cpu_count()}, of which the box has {record.spec.cpus}",
        "memory": f"{host.memory_mib()} MiB, of which the box may have {record.spec.memory_mib}",
        "free disk": f"{host.free_bytes(context.layout.home) / 1024**3:.1f} GiB for {context.layout.home}",
        "accelerator": "not chosen yet" if accel is None else accel.value,
    }
