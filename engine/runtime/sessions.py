"""The commands in a running box: its main one and those that exec added."""

from __future__ import annotations

from engine.errors import InvalidStateError
from engine.metrics import BoxSession
from engine.model import BoxRecord, BoxStatus
from engine.portal.listing import list_sessions
from engine.runtime.context import Context
from engine.runtime.running import session_with


async def box_sessions(context: Context, record: BoxRecord) -> list[BoxSession]:
    """Raises InvalidStateError when the box does not run."""
    if record.status is BoxStatus.STOPPING:
        raise InvalidStateError("it is stopping", box=record.name, operation="top")
    async with session_with(context, record, "top") as session:
        return await list_sessions(session)
