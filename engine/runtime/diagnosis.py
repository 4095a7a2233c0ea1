"""From what is known of a box to what it probably means and what to do next. Pure: the same evidence, the same answer.

The first rule that fits wins: they go from what is certain to what is likely.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence

from engine.model import BoxRecord, BoxStatus, HealthState
from engine.runtime.attempts import FailedStart
from engine.values import dataclass

Tails = Mapping[str, Sequence[str]]
"""The last lines of logs, by name: console, qemu, shim."""

SIGNS = (
    ("qemu", r"cannot (?:set up guest memory|allocate memory)", "the host has no memory left for the machine",
     "stop other boxes, or give this one less: boxlite update --memory 256m {name}"),
    ("qemu", r"Could not access KVM|failed to initialize kvm", "the accelerator kvm does not work here",
     "boxlite system doctor"),
    ("qemu", r"No space left on device|ENOSPC", "the disk of the host is full", "boxlite system df, then boxlite system prune"),
    ("console", r"Out of memory: Killed process|oom-kill:", "the machine ran out of memory",
     "give it more: boxlite update --memory {double}m {name}"),
    ("console", r"Initramfs unpacking failed|not enough memory", "the machine's memory is too small for the guest system",
     "give it more: boxlite update --memory {double}m {name}"),
    ("console", r"Kernel panic", "the guest's kernel gave up", "boxlite logs --console {name} shows where; try --cold-boot"),
    ("console", r"EXT4-fs error|I/O error, dev vd", "the box's disk has errors",
     "save what can be saved with boxlite cp, then make the box anew"),
    ("shim", r"Traceback \(most recent call last\)", "the process that holds the box failed", "please report it with this output"),
)  # fmt: skip
"""Where to look, for what, what it means, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`cause` and `next_step` are each a line. `is_fine`: there is nothing to explain."""

    cause: str
    next_step: str
    is_fine: bool = False


def diagnose(record: BoxRecord, failure: FailedStart | None, tails: Tails) -> Diagnosis:
    """What is probably the matter with a box."""
    return next(_rules(record, failure, tails))


def _rules(record: BoxRecord, failure: FailedStart | None, tails: Tails) -> Iterator[Diagnosis]:
    name, state = record.name, record.state
    if record.status is BoxStatus.PAUSED:
        yield Diagnosis(cause=f"it is paused: {state.reason}", next_step=f"boxlite unpause {name}")
    if record.status.is_active and state.health is HealthState.UNHEALTHY:
        yield Diagnosis(
            cause=f"it runs, but its health check has failed {state.health_failures} times in a row",
            next_step=f"run the check by hand: boxlite exec {name} …; its definition: boxlite inspect {name}",
        )
    if record.status.is_active:
        yield Diagnosis(cause="it runs", next_step="nothing to do", is_fine=True)
    if failure is not None:
        yield _of_failed_start(record, failure, tails)
    if record.status is BoxStatus.CONFIGURED:
        yield Diagnosis(cause="it was never started", next_step=f"boxlite start {name}", is_fine=True)
    if state.oom_killed:
        yield Diagnosis(
            cause=f"its command was killed because {record.spec.memory_mib} MiB of memory were not enough",
            next_step=f"boxlite update --memory {2 * record.spec.memory_mib}m {name}, then boxlite start {name}",
        )
    if state.reason == "the host was restarted":
        yield Diagnosis(cause="the host was restarted while it ran", next_step=f"boxlite start {name}")
    if state.reason == "its shim was killed":
        yield Diagnosis(
            cause="the process that held it was killed from outside, perhaps by the host for want of memory",
            next_step=f"see the host's kernel log (dmesg), then boxlite start {name}",
        )
    if state.reason != "the main command ended":
        found = _sign(record, tails)
        if found is not None:
            yield found
    yield _of_end(record)


def _of_failed_start(record: BoxRecord, failure: FailedStart, tails: Tails) -> Diagnosis:
    found = _sign(record, tails) if failure.stage in ("box_spawn_ms", "container_init_ms") else None
    if found is not None:
        return found
    again = f"then boxlite start {record.name}"
    return Diagnosis(
        cause=f"its last start failed: {failure.message}",
        next_step=f"{failure.hint or 'boxlite system doctor'}; {again}",
    )


def _sign(record: BoxRecord, tails: Tails) -> Diagnosis | None:
    for log, pattern, cause, step in SIGNS:
        line = next((line for line in reversed(tails.get(log, ())) if re.search(pattern, line)), None)
        if line is not None:
            step = step.format(name=record.name, double=2 * record.spec.memory_mib)
            return Diagnosis(cause=f"{cause} ({log}: {line[:120]})", next_step=step)
    return None


def _of_end(record: BoxRecord) -> Diagnosis:
    name, state, code = record.name, record.state, record.state.exit_code
    logs = f"boxlite logs {name} shows what it wrote"
    if code is None:
        return Diagnosis(cause=state.reason or "nothing is known", next_step=logs)
    if code == 0:
        step = (
            f"a shell ends when nobody types: boxlite run -it …; {logs}" if not record.spec.is_job else logs
        )
        return Diagnosis(
            cause=f"its command ended by itself, without an error ({state.reason})",
            next_step=step,
            is_fine=True,
        )
    if state.reason != "the main command ended" and code in (137, 143):
        return Diagnosis(
            cause=f"it was stopped: {state.reason}", next_step=f"boxlite start {name}", is_fine=True
        )
    if code in (126, 127):
        cause = "its command cannot be run" if code == 126 else "its command does not exist in the image"
        return Diagnosis(
            cause=f"{cause}: {state.reason}",
            next_step=f"boxlite inspect -f '{{{{.Config.Cmd}}}}' {name}; {logs}",
        )
    if code > 128:
        return Diagnosis(
            cause=f"its command was ended by {_signal_name(code - 128)} ({state.reason})", next_step=logs
        )
    return Diagnosis(cause=f"its command failed with status {code}, which is its own", next_step=logs)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
