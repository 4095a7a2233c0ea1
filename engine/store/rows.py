"""Rows of the table of boxes as values, the newest first.

They are put in order here: to sort a thousand boxes SQLite would write a file, and asked for the order of insertion it would
read all of them to find those that run. Rows come some at a time, so that the documents of one part need the memory of the
last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from engine.model import BoxRecord, ListedBox
from engine.store import documents

if TYPE_CHECKING:
    from aiosqlite import Connection

T = TypeVar("T", BoxRecord, ListedBox)
ROWS_AT_ONCE = 100
_LISTED = "SELECT created_us, sequence, id, name, spec, state FROM boxes"
_RECORDS = "SELECT created_us, sequence, id, name, spec, state, manifest_digest, config_digest FROM boxes"


async def select_records(connection: Connection, condition: str, values: tuple[str, ...]) -> list[BoxRecord]:
    return await _select(connection, f"{_RECORDS} WHERE {condition}", values, _record)


async def select_listed(connection: Connection, condition: str, values: tuple[str, ...]) -> list[ListedBox]:
    return await _select(connection, f"{_LISTED} WHERE {condition}", values, _listed)


async def _select(
    connection: Connection, query: str, values: tuple[str, ...], make: Callable[..., T]
) -> list[T]:
    cursor = await connection.execute(query, values)
    try:
        found: list[tuple[int, int, T]] = []
        while rows := await cursor.fetchmany(ROWS_AT_ONCE):
            found += [(row[0], row[1], make(row[0], *row[2:])) for row in rows]
    finally:
        await cursor.close()
    found.sort(reverse=True)  # no two have one sequence
    return [box for _, _, box in found]


def _record(
    created_us: int, box_id: str, name: str, spec: str, state: str, manifest: str | None, config: str | None
) -> BoxRecord:
    return BoxRecord(
        id=box_id,
        name=name,
        created_at=documents.from_microseconds(created_us),
        spec=documents.decode_spec(spec, box=name),
        state=documents.decode_state(state, box=name),
        manifest_digest=manifest,
        config_digest=config,
    )


def _listed(created_us: int, box_id: str, name: str, spec: str, state: str) -> ListedBox:
    return ListedBox(
        id=box_id,
        name=name,
        created_at=documents.from_microseconds(created_us),
        spec=documents.decode_listed_spec(spec, box=name),
        state=documents.decode_state(state, box=name),
    )
