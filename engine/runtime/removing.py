"""Removing a box, stopped first where that was asked for."""

from __future__ import annotations

import asyncio

from engine.errors import InvalidStateError
from engine.fsutil import remove_tree
from engine.model import BoxRecord
from engine.runtime import records
from engine.runtime.context import Context


async def remove_box(context: Context, record: BoxRecord, *, force: bool, volumes: bool) -> BoxRecord:
    """Raises InvalidStateError for a box that runs, unless `force`; one that somebody starts meanwhile is then stopped again."""
    while True:
        if record.status.is_active:
            record = await _stopped(context, record, force=force)
        if record.spec.auto_remove and await context.store.find(record.id) is None:
            break  # gone by itself
        try:
            await records.remove_box(context, record)
        except InvalidStateError:
            if not force:
                raise
            record = await records.get_box(context, record.id)
        else:
            break
    if volumes:
        await asyncio.to_thread(remove_tree, context.layout.anonymous_volumes(record.id))
    return record


async def _stopped(context: Context, record: BoxRecord, *, force: bool) -> BoxRecord:
    if not force:
        raise InvalidStateError(
            f"it is {record.status}",
            hint=f"stop it first (`boxlite stop {record.name}`), or use `boxlite rm -f {record.name}`",
            box=record.name,
            operation="rm",
        )
    from engine.runtime import stopping

    return await stopping.stop_box(context, record, reason="rm -f", timeout_s=0.0, signum=9)
