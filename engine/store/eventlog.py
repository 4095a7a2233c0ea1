"""The table of events: appended to within the transaction that made the change, read by cursor."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from engine.events import BoxEvent, EventKind
from engine.model import utc_now
from engine.store import documents

if TYPE_CHECKING:
    from aiosqlite import Connection

EVENTS_KEPT = 20_000


async def append(
    connection: Connection,
    kind: EventKind,
    *,
    box_id: str,
    box_name: str,
    reason: str = "",
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Write one event; the oldest beyond EVENTS_KEPT goes."""
    cursor = await connection.execute(
        "INSERT INTO events (time_us, box_id, box_name, kind, reason, attributes) VALUES (?, ?, ?, ?, ?, ?)",
        (
            documents.to_microseconds(utc_now()), box_id, box_name, kind.value, reason,
            documents.encode(dict(attributes or {})),
        ),
    )  # fmt: skip
    if cursor.lastrowid is not None:
        await connection.execute("DELETE FROM events WHERE cursor <= ?", (cursor.lastrowid - EVENTS_KEPT,))


async def select(
    connection: Connection,
    *,
    after_cursor: int = 0,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> list[BoxEvent]:
    """Events after `after_cursor`, oldest first; `since` and `until` include their ends."""
    conditions, values = ["cursor > ?"], [after_cursor]
    if since is not None:
        conditions.append("time_us >= ?")
        values.append(documents.to_microseconds(since))
    if until is not None:
        conditions.append("time_us <= ?")
        values.append(documents.to_microseconds(until))
    rows = await connection.execute_fetchall(
        "SELECT cursor, time_us, box_id, box_name, kind, reason, attributes FROM events"  # noqa: S608
        f" WHERE {' AND '.join(conditions)} ORDER BY cursor LIMIT ?",
        (*values, -1 if limit is None else limit),
    )
    return [
        BoxEvent(
            cursor=row[0],
            time=documents.from_microseconds(row[1]),
            box_id=row[2],
            box_name=row[3],
            kind=EventKind(row[4]),
            reason=row[5],
            attributes=documents.decode_attributes(row[6]),
        )
        for row in rows
    ]


async def last_cursor(connection: Connection) -> int:
    rows = await connection.execute_fetchall("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
    return next((int(row[0]) for row in rows), 0)
