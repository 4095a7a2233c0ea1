"""The log of events, read to its end or as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from engine.events import BoxEvent
from engine.model import utc_now
from engine.runtime.context import Context

FOLLOW_POLL_S = 0.1


async def events(
    context: Context,
    *,
    after_cursor: int | None,
    since: datetime | None,
    until: datetime | None,
    follow: bool,
) -> AsyncIterator[BoxEvent]:
    """Events in order, none twice and none left out: those after a cursor or since a time, else those that are still to
    come. With `follow` until the time `until`, or for ever.

    The log is a table other processes write to: it is looked at ten times a second.
    """
    cursor = after_cursor or 0
    if follow and after_cursor is None and since is None:
        cursor = await context.store.last_cursor()
    while True:
        over = not follow or (
            until is not None and utc_now() > until
        )  # before the look, which may miss what follows
        for event in await context.store.events(after_cursor=cursor, since=since, until=until):
            cursor = event.cursor
            yield event
        if over:
            return
        await asyncio.sleep(FOLLOW_POLL_S)
