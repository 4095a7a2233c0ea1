"""Changing what a box was asked to be, after it was created."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Any

from engine.errors import InvalidArgumentError, InvalidStateError, StoppedError
from engine.model import BoxRecord, BoxSpec, RestartPolicy
from engine.process import signal_number
from engine.runtime.context import Context
from engine.runtime.records import box_lock, get_box
from engine.shim.control import ask_shim
from engine.values import dataclass

NEEDS_A_STOP = ("cpus", "memory_mib")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxChanges:
    """Fields to change; None leaves one as it is. `labels` are set beside those there are, `remove_labels` taken away."""

    cpus: int | None = None
    memory_mib: int | None = None
    labels: dict[str, str] | None = None
    remove_labels: tuple[str, ...] = ()
    stop_signal: str | None = None
    stop_timeout_s: float | None = None
    timeout_s: float | None = None
    auto_stop_s: float | None = None
    auto_delete_s: float | None = None
    restart: RestartPolicy | None = None

    def fields_for(self, spec: BoxSpec) -> dict[str, Any]:
        """The fields of the spec that become different."""
        wanted = {name: getattr(self, name) for name in self.__slots__ if name != "remove_labels"}
        if self.labels is not None or self.remove_labels:
            kept = {key: text for key, text in spec.labels.items() if key not in self.remove_labels}
            wanted["labels"] = kept | (self.labels or {})
        return {
            name: value
            for name, value in wanted.items()
            if value is not None and value != getattr(spec, name)
        }


async def update_box(context: Context, record: BoxRecord, changes: BoxChanges) -> BoxRecord:
    """Change a box on record, and tell its shim. Deadlines count from when they always did.

    Raises InvalidStateError for a change that a running box cannot have, InvalidArgumentError for a wrong value.
    """
    async with box_lock(context, record, "update"):
        record = await get_box(context, record.id)
        fields = changes.fields_for(record.spec)
        if not fields:
            return record
        waiting = [name for name in NEEDS_A_STOP if name in fields]
        if waiting and record.status.is_active:
            names = " and ".join(name.removesuffix("_mib") for name in waiting)
            raise InvalidStateError(
                f"it is {record.status}, and its {names} can only be changed while it is stopped",
                hint=f"boxlite stop {record.name}",
                box=record.name,
                operation="update",
            )
        if record.spec.auto_remove and (fields.get("restart") or fields.get("auto_delete_s")):
            raise InvalidArgumentError(
                "it is removed when it stops (--rm)", box=record.name, operation="update"
            )
        record = await context.store.update_spec(record.id, **fields)
        if record.status.is_active:
            await _tell_shim(context, record)
        return record


async def _tell_shim(context: Context, record: BoxRecord) -> None:
    spec = record.spec
    plan: dict[str, object] = {
        "timeout_s": spec.timeout_s,
        "auto_stop_s": spec.auto_stop_s,
        "auto_delete_s": spec.auto_delete_s,
        "stop_timeout_s": spec.stop_timeout_s,
        "restart": asdict(spec.restart),
    }
    if spec.stop_signal is not None:
        plan["stop_signal"] = signal_number(spec.stop_signal)
    with contextlib.suppress(StoppedError):  # it has just ended: the next start goes by the record
        await ask_shim(context.layout.box(record.id), {"op": "change", "plan": plan})
