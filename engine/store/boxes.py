"""Boxes in the database. Every change is one transaction that also writes its event; no change is lost or half done,
whoever is killed when."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from engine.errors import AlreadyExistsError, InvalidArgumentError, InvalidStateError, NotFoundError
from engine.events import BoxEvent, EventKind, kind_of_transition
from engine.layout import Layout
from engine.model import BoxRecord, BoxStatus, ListedBox, check_transition, utc_now
from engine.names import check_name, did_you_mean, made_up_name
from engine.store import documents, eventlog
from engine.store.database import BUSY_TIMEOUT_S, Database
from engine.store.rows import select_listed, select_records
from engine.store.schema import ACTIVE_CONDITION, ACTIVE_STATUSES

if TYPE_CHECKING:
    from aiosqlite import Connection

_CANDIDATES_SHOWN = 5


class BoxStore:
    """`async with BoxStore(layout) as store:`; opened at the first call, closed at the end. Any number of processes
    may have one on the same home. A call raises DatabaseError when the database cannot be used, and
    ResourceExhaustedError when the disk is full.
    """

    def __init__(self, layout: Layout, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._database = Database(layout.boxes_db, prepare=layout.ensure, busy_timeout_s=busy_timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the database now, for those who know that they will need it soon. Idempotent."""
        async with self._database.reading():
            return

    async def close(self) -> None:
        await self._database.close()

    async def insert(self, record: BoxRecord) -> None:
        """Raises AlreadyExistsError when the name or id is taken; of two at the same moment one wins."""
        check_name(record.name)
        async with self._database.writing() as connection:
            taken = await select_records(connection, "name = ? OR id = ?", (record.name, record.id))
            if taken:
                raise _name_taken(record.name, taken[0])
            await _insert(connection, record)

    async def insert_unnamed(self, record: BoxRecord) -> BoxRecord:
        """Insert under a made-up name that is free, whatever `record.name` says; returns the record with it."""
        async with self._database.writing() as connection:
            attempt = 0
            named = replace(record, name=made_up_name())
            while await select_records(connection, "name = ?", (named.name,)):
                attempt += 1
                named = replace(record, name=made_up_name(attempt))
            await _insert(connection, named)
            return named

    async def get(self, box_id: str) -> BoxRecord:
        """Raises NotFoundError."""
        async with self._database.reading() as connection:
            return await _get(connection, box_id)

    async def find(self, ref: str) -> BoxRecord | None:
        """The box with this id or name, or the only one whose id begins so. InvalidArgumentError: several do."""
        if not ref:
            raise InvalidArgumentError("the name of the box is empty")
        async with self._database.reading() as connection:
            exact = await select_records(connection, "id = ? OR name = ?", (ref, ref))
            if exact:
                return next((record for record in exact if record.id == ref), exact[0])
            begins = await select_records(connection, "id >= ? AND id < ?", (ref, f"{ref}\U0010ffff"))
        if len(begins) > 1:
            shown = ", ".join(f"{record.id} ({record.name})" for record in begins[:_CANDIDATES_SHOWN])
            more = len(begins) - _CANDIDATES_SHOWN
            raise InvalidArgumentError(
                f"{ref!r} is the beginning of {len(begins)} box ids: {shown}{f' and {more} more' if more > 0 else ''}",
                hint="give more of the id, or the name",
            )
        return begins[0] if begins else None

    async def resolve(self, ref: str) -> BoxRecord:
        """As `find`, but raises NotFoundError where there is none."""
        record = await self.find(ref)
        if record is None:
            async with self._database.reading() as connection:
                rows = await connection.execute_fetchall(
                    "SELECT name FROM boxes ORDER BY created_us DESC LIMIT 1000"
                )
            raise _no_such_box(ref, [str(row[0]) for row in rows])
        return record

    async def list(self, statuses: Collection[BoxStatus] | None = None) -> list[BoxRecord]:
        """Newest first; with `statuses` only those. Active ones are found without looking at the others."""
        async with self._database.reading() as connection:
            return await select_records(connection, *_in_statuses(statuses))

    async def list_briefly(self, statuses: Collection[BoxStatus] | None = None) -> Sequence[ListedBox]:
        """As `list`, with the part of each that a list shows."""
        async with self._database.reading() as connection:
            return await select_listed(connection, *_in_statuses(statuses))

    async def ids(self) -> set[str]:
        """The ids of all boxes there are."""
        async with self._database.reading() as connection:
            return {str(row[0]) for row in await connection.execute_fetchall("SELECT id FROM boxes")}

    async def count(self) -> Mapping[BoxStatus, int]:
        """How many boxes there are of each status; those with none are left out."""
        async with self._database.reading() as connection:
            rows = await connection.execute_fetchall("SELECT status, count(*) FROM boxes GROUP BY status")
        return {BoxStatus(row[0]): int(row[1]) for row in rows}

    async def transition(
        self,
        box_id: str,
        new: BoxStatus,
        *,
        reason: str,
        expect: Collection[BoxStatus] | None = None,
        seen: BoxRecord | None = None,
        **state_changes: Any,
    ) -> BoxRecord:
        """Change the status, with further fields of BoxState, and write the event.

        Raises InvalidStateError when the table of transitions forbids it, when the box is in none of the statuses in
        `expect` any more, or when its shim is another than that of `seen`, the record the caller goes by (another
        process was faster); NotFoundError when it is gone.
        """
        async with self._database.writing() as connection:
            record = await _get(connection, box_id)
            old = record.status
            if seen is not None and not record.state.same_run(seen.state):
                raise InvalidStateError("it was started anew meanwhile", box=record.name, operation=new.value)
            if expect is not None and old not in expect:
                raise InvalidStateError(
                    f"it is {old}, not {' or '.join(sorted(expect))}", box=record.name, operation=new.value
                )
            check_transition(old, new, box=record.name, operation=new.value)
            state = replace(record.state, **state_changes, status=new, reason=reason, changed_at=utc_now())
            attributes = {"from": old.value, "to": new.value}
            if new in (BoxStatus.STOPPED, BoxStatus.FAILED) and state.exit_code is not None:
                attributes["exit_code"] = str(state.exit_code)
            if state.oom_killed:
                attributes["oom_killed"] = "true"
            return await _write(
                connection, replace(record, state=state), kind_of_transition(old, new), reason, attributes
            )

    async def update_state(self, box_id: str, **changes: Any) -> BoxRecord:
        """Change fields of BoxState other than the status. No event, unless the health changes."""
        if "status" in changes:
            raise InvalidArgumentError("the status of a box is changed by a transition only")
        async with self._database.writing() as connection:
            record = await _get(connection, box_id)
            changed = replace(record, state=replace(record.state, **changes))
            if changed.state.health is record.state.health:
                return await _write(connection, changed)
            attributes = {"from": record.state.health.value, "to": changed.state.health.value}
            return await _write(connection, changed, EventKind.HEALTH, changed.state.health.value, attributes)

    async def update_spec(self, box_id: str, **changes: Any) -> BoxRecord:
        """Change fields of the spec. Whether the box may be changed so now is for the caller to say; the values are
        checked (InvalidArgumentError)."""
        async with self._database.writing() as connection:
            record = await _get(connection, box_id)
            changed = replace(record, spec=replace(record.spec, **changes))
            return await _write(
                connection, changed, EventKind.UPDATED, attributes={"fields": ",".join(sorted(changes))}
            )

    async def rename(self, box_id: str, new_name: str) -> BoxRecord:
        """Raises AlreadyExistsError when the name is taken, by this box too."""
        check_name(new_name)
        async with self._database.writing() as connection:
            record = await _get(connection, box_id)
            taken = await select_records(connection, "name = ?", (new_name,))
            if taken:
                raise _name_taken(new_name, taken[0])
            return await _write(
                connection,
                replace(record, name=new_name),
                EventKind.RENAMED,
                attributes={"from": record.name},
            )

    async def remove(self, box_id: str, *, reason: str = "") -> None:
        """Forget a box. Raises InvalidStateError while a process stands behind it, NotFoundError when it is gone.
        A row whose documents cannot be read can be removed too."""
        async with self._database.writing() as connection:
            rows = await connection.execute_fetchall("SELECT name, status FROM boxes WHERE id = ?", (box_id,))
            row = next(iter(rows), None)
            if row is None:
                raise _no_such_box(box_id)
            name, status = row
            if status in ACTIVE_STATUSES:
                raise InvalidStateError(
                    f"it is {status}", hint=f"boxlite stop {name}", box=name, operation="remove"
                )
            await connection.execute("DELETE FROM boxes WHERE id = ?", (box_id,))
            await eventlog.append(connection, EventKind.REMOVED, box_id=box_id, box_name=name, reason=reason)

    async def record_event(
        self, record: BoxRecord, kind: EventKind, *, reason: str = "", **attributes: str
    ) -> None:
        """Write an event that changes nothing: an exec, a copy."""
        async with self._database.writing() as connection:
            await eventlog.append(
                connection, kind, box_id=record.id, box_name=record.name, reason=reason, attributes=attributes
            )

    async def events(
        self,
        after_cursor: int = 0,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Sequence[BoxEvent]:
        """Events after a cursor, oldest first."""
        async with self._database.reading() as connection:
            return await eventlog.select(
                connection, after_cursor=after_cursor, since=since, until=until, limit=limit
            )

    async def last_cursor(self) -> int:
        """The cursor of the newest event ever written, 0 before the first: where one who follows starts."""
        async with self._database.reading() as connection:
            return await eventlog.last_cursor(connection)


def _in_statuses(statuses: Collection[BoxStatus] | None) -> tuple[str, tuple[str, ...]]:
    """A condition and its values."""
    if statuses is None:
        return "TRUE", ()
    condition = f"status IN ({', '.join('?' * len(statuses))})"
    if ACTIVE_STATUSES.issuperset(statuses):
        condition += f" AND {ACTIVE_CONDITION}"
    return condition, tuple(status.value for status in statuses)


async def _get(connection: Connection, box_id: str) -> BoxRecord:
    records = await select_records(connection, "id = ?", (box_id,))
    if not records:
        raise _no_such_box(box_id)
    return records[0]


async def _insert(connection: Connection, record: BoxRecord) -> None:
    await connection.execute(
        "INSERT INTO boxes (id, name, created_us, manifest_digest, config_digest, spec, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.id, record.name, documents.to_microseconds(record.created_at), record.manifest_digest,
            record.config_digest, documents.encode(record.spec), documents.encode(record.state),
        ),
    )  # fmt: skip
    image = record.spec.image or record.spec.rootfs or ""
    await eventlog.append(
        connection, EventKind.CREATED, box_id=record.id, box_name=record.name, attributes={"image": image}
    )


async def _write(
    connection: Connection,
    record: BoxRecord,
    kind: EventKind | None = None,
    reason: str = "",
    attributes: Mapping[str, str] | None = None,
) -> BoxRecord:
    await connection.execute(
        "UPDATE boxes SET name = ?, spec = ?, state = ? WHERE id = ?",
        (record.name, documents.encode(record.spec), documents.encode(record.state), record.id),
    )
    if kind is not None:
        await eventlog.append(
            connection, kind, box_id=record.id, box_name=record.name, reason=reason, attributes=attributes
        )
    return record


def _no_such_box(ref: str, names: Sequence[str] = ()) -> NotFoundError:
    hint = did_you_mean(ref, names, "`boxlite ls -a` shows every box")
    return NotFoundError(f"no such box: {ref}", hint=hint)


def _name_taken(name: str, holder: BoxRecord) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"the name {name!r} is in use by box {holder.short_id}",
        hint=f"remove that one (`boxlite rm {name}`) or choose another with --name",
    )
