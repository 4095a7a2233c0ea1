"""Opening, migrating and refusing a database."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from engine.errors import DatabaseError
from engine.layout import Layout
from engine.store import BoxStore
from engine.store import database as database_module
from engine.store.database import Database
from engine.store.schema import MIGRATIONS, SCHEMA_VERSION
from tests.framework.records import make_record


async def test_unused_store_touches_nothing(tmp_path: Path) -> None:
    async with BoxStore(Layout(tmp_path / "home")):
        pass
    assert not (tmp_path / "home").exists()


async def test_home_made_by_the_store_is_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    async with BoxStore(layout) as store:
        await store.list()
    assert layout.home.stat().st_mode & 0o777 == 0o700
    assert layout.db_dir.stat().st_mode & 0o777 == 0o700


async def test_new_database_has_the_pragmas_and_the_version(tmp_path: Path) -> None:
    database = Database(tmp_path / "boxes.db", prepare=lambda: None)
    async with database.reading() as connection:
        found = [
            next(iter(await connection.execute_fetchall(f"PRAGMA {name}")))[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "user_version")
        ]
    await database.close()
    assert found == ["wal", 1, 1, 10_000, SCHEMA_VERSION]


async def test_database_of_a_newer_boxlite_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "boxes.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    database = Database(path, prepare=lambda: None)
    with pytest.raises(DatabaseError, match=f"schema version {SCHEMA_VERSION + 1}") as caught:
        async with database.reading():
            pass
    assert "newer boxlite" in str(caught.value.hint)
    assert path.read_bytes() == before


async def test_older_database_is_brought_up_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with BoxStore(Layout(tmp_path)) as store:
        record = make_record("web")
        await store.insert(record)
    steps = (*MIGRATIONS, ("ALTER TABLE boxes ADD COLUMN flavour TEXT DEFAULT 'plain'",))
    monkeypatch.setattr(database_module, "MIGRATIONS", steps)
    monkeypatch.setattr(database_module, "SCHEMA_VERSION", len(steps))
    async with BoxStore(Layout(tmp_path)) as store:
        assert await store.list() == [record]
        async with store._database.reading() as connection:
            rows = await connection.execute_fetchall("SELECT flavour FROM boxes")
        assert [tuple(row) for row in rows] == [("plain",)]


async def test_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with BoxStore(Layout(tmp_path)) as store:
        await store.insert(make_record("web"))
    steps = (*MIGRATIONS, ("CREATE TABLE half (x)", "SELECT nonsense FROM nowhere"))
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "MIGRATIONS", steps)
        patch.setattr(database_module, "SCHEMA_VERSION", len(steps))
        async with BoxStore(Layout(tmp_path)) as store:
            with pytest.raises(DatabaseError, match="nowhere"):
                await store.list()
    async with BoxStore(Layout(tmp_path)) as store:
        assert len(await store.list()) == 1
        async with store._database.reading() as connection:
            assert not list(
                await connection.execute_fetchall("SELECT 1 FROM sqlite_schema WHERE name = 'half'")
            )


async def test_file_that_is_no_database_is_named_with_a_way_out(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.db_dir.mkdir()
    layout.boxes_db.write_bytes(b"not a database" * 1000)
    async with BoxStore(layout) as store:
        with pytest.raises(DatabaseError, match="not a database") as caught:
            await store.list()
    assert "move it away" in str(caught.value.hint)


async def test_tasks_of_one_process_take_turns(tmp_path: Path) -> None:
    async with BoxStore(Layout(tmp_path)) as store:
        records = [make_record(f"b{number}") for number in range(20)]
        async with asyncio.TaskGroup() as group:
            for record in records:
                group.create_task(store.insert(record))
                group.create_task(store.list())
        assert {record.name for record in await store.list()} == {record.name for record in records}


async def test_cancelled_transaction_is_rolled_back(tmp_path: Path) -> None:
    async with BoxStore(Layout(tmp_path)) as store:
        await store.insert(make_record("web"))

        async def delete_and_wait(inside: asyncio.Event) -> None:
            async with store._database.writing() as connection:
                await connection.execute("DELETE FROM boxes")
                inside.set()
                await asyncio.Event().wait()

        inside = asyncio.Event()
        task = asyncio.create_task(delete_and_wait(inside))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await store.list()) == 1
        await store.insert(make_record("db"))
