"""Times, sizes and states as people say them; RFC 3339 for programs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from engine.model import BoxStatus, HealthState, utc_now

if TYPE_CHECKING:
    from engine.model import BoxRecord, ListedBox, PortSpec

_STEPS = (
    (60, 1, "second"),
    (3600, 60, "minute"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (730 * 86400, 30 * 86400, "month"),
)


def duration_text(seconds: float) -> str:
    """`5 minutes`, `1 hour`, `3 weeks`; never more than one unit."""
    whole = max(0, int(seconds))
    if whole == 0:
        return "less than a second"
    for below, step, unit in _STEPS:
        if whole < below:
            return _count(whole // step, unit)
    return _count(whole // (365 * 86400), "year")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def ago(time: datetime, now: datetime | None = None) -> str:
    return f"{duration_text(((now or utc_now()) - time).total_seconds())} ago"


def rfc3339(time: datetime | None) -> str | None:
    """`2025-01-31T08:00:00.123456Z`."""
    return None if time is None else time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def size_text(size_bytes: int) -> str:
    """In binary units: `4.2 MiB`."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"


def status_text(record: BoxRecord | ListedBox, now: datetime | None = None) -> str:
    """`running 5 minutes`, `stopped (7) 2 hours ago`, `configured`."""
    state = record.state
    now = now or utc_now()
    match state.status:
        case BoxStatus.RUNNING | BoxStatus.PAUSED if state.started_at is not None:
            text = f"{state.status} {duration_text((now - state.started_at).total_seconds())}"
            return text if state.health is HealthState.NONE else f"{text} ({state.health})"
        case BoxStatus.STOPPED | BoxStatus.FAILED:
            code = f" ({state.exit_code})" if state.exit_code is not None else ""
            return f"{state.status}{code} {ago(state.finished_at or state.changed_at, now)}"
    return str(state.status)


def ports_text(ports: tuple[PortSpec, ...]) -> str:
    """`0.0.0.0:8080->80/tcp, …`."""
    return ", ".join(str(port) for port in ports)
