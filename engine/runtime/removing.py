"""Removing a box, stopped first where that was asked for."""

from __future__ import annotations

import asyncio

from engine.errors import InvalidStateError
from engine.fsutil import remove_tree
from engine.model import BoxRecord
from engine.runtime import records
from engine.runtime.context import Context


async def remove_box(context: Context, record: BoxRecord, *, force: bool, volumes: bool) -> BoxRecord:
    """Raises InvalidStateError for a box that runs, unless `force`."""
    if record.status.is_active:
        if not force:
            raise InvalidStateError(
                f"it is {record.status}",
                hint=f"stop it first (`boxlite stop {record.name}`), or use `boxlite rm -f {record.name}`",
                box=record.name,
                operation="rm",
            )
        from engine.runtime import stopping

        record = await stopping.stop_box(context, record, reason="rm -f", timeout_s=0.0, signum=9)
    gone_by_itself = record.spec.auto_remove and await context.store.find(record.id) is None
    if not gone_by_itself:
        await records.remove_box(context, record)
    if volumes:
        await asyncio.to_thread(remove_tree, context.layout.anonymous_volumes(record.id))
    return record
