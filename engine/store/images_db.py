"""db/images.db: which images are here and by which names. SQLite in WAL mode: any number of processes at once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import DatabaseError
from engine.fsutil import locked
from engine.store.database import translated
from engine.store.reserve import WRITING_NEEDS_BYTES, mind_reserve
from engine.values import dataclass

if TYPE_CHECKING:
    import aiosqlite

SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 30.0
_MIGRATIONS = {
    0: """
    CREATE TABLE images (
        manifest_digest TEXT PRIMARY KEY,
        config_digest TEXT NOT NULL,
        source_digest TEXT NOT NULL,
        repository TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        pulled_at TEXT NOT NULL,
        used_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX images_by_config ON images (config_digest);
    CREATE INDEX images_by_source ON images (source_digest);
    CREATE TABLE names (
        reference TEXT PRIMARY KEY,
        manifest_digest TEXT NOT NULL REFERENCES images (manifest_digest) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX names_by_image ON names (manifest_digest);
    """,
}
"""From each version of the schema, what makes the next one."""
_SELECT = """SELECT i.*,
    (SELECT group_concat(reference, char(10)) FROM names n WHERE n.manifest_digest = i.manifest_digest)
    FROM images i"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One image. `source_digest` is what the registry called it: its index's digest, or the manifest's own.
    `repository` is where it came from first; `names` are the references that mean it now, sorted."""

    manifest_digest: str
    config_digest: str
    source_digest: str
    repository: str
    size_bytes: int
    pulled_at: datetime
    used_at: datetime
    names: tuple[str, ...] = ()


class ImagesDb:
    """An open database; `open_images_db` gives one. Every method is one transaction."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def put(self, row: ImageRow, *, name: str | None) -> None:
        """Store the image and let `name`, if given, mean it from now on."""
        async with _transaction(self._connection) as connection:
            await connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (manifest_digest) DO UPDATE SET"
                " source_digest = excluded.source_digest, used_at = excluded.used_at, pulled_at = excluded.pulled_at",
                (row.manifest_digest, row.config_digest, row.source_digest, row.repository, row.size_bytes,
                 row.pulled_at.isoformat(), row.used_at.isoformat()),
            )  # fmt: skip
            if name is not None:
                await connection.execute(
                    "INSERT OR REPLACE INTO names VALUES (?, ?)", (name, row.manifest_digest)
                )

    async def name(self, reference: str, manifest_digest: str) -> bool:
        """Let `reference` mean an image that is here; False when it is not."""
        async with _transaction(self._connection) as connection:
            cursor = await connection.execute(
                "INSERT OR REPLACE INTO names SELECT ?, manifest_digest FROM images WHERE manifest_digest = ?",
                (reference, manifest_digest),
            )
            return cursor.rowcount > 0

    async def unname(self, reference: str) -> bool:
        """Take a name away; the image stays. False when there is no such name."""
        async with _transaction(self._connection) as connection:
            cursor = await connection.execute("DELETE FROM names WHERE reference = ?", (reference,))
            return cursor.rowcount > 0

    async def delete(self, manifest_digest: str) -> bool:
        """Forget an image and all its names."""
        async with _transaction(self._connection) as connection:
            cursor = await connection.execute(
                "DELETE FROM images WHERE manifest_digest = ?", (manifest_digest,)
            )
            return cursor.rowcount > 0

    async def find_by_name(self, reference: str) -> ImageRow | None:
        rows = await self._rows(
            "i.manifest_digest = (SELECT manifest_digest FROM names WHERE reference = ?)", reference
        )
        return rows[0] if rows else None

    async def find_by_digest(self, digest: str) -> list[ImageRow]:
        """Images whose manifest, configuration or source has exactly this digest."""
        return await self._rows("? IN (i.manifest_digest, i.config_digest, i.source_digest)", digest)

    async def find_by_prefix(self, prefix: str) -> list[ImageRow]:
        """Images whose configuration's or manifest's digest begins so, without `sha256:`. `prefix` is hexadecimal."""
        return await self._rows(
            "substr(i.config_digest, 8, length(?1)) = ?1 OR substr(i.manifest_digest, 8, length(?1)) = ?1",
            prefix,
        )

    async def rows(self) -> list[ImageRow]:
        """Every image, the newest first."""
        return await self._rows("?", 1)

    async def _rows(self, where: str, parameter: str | int) -> list[ImageRow]:
        query = f"{_SELECT} WHERE {where} ORDER BY i.pulled_at DESC, i.manifest_digest"
        async with self._connection.execute(query, (parameter,)) as cursor:
            return [_row(values) for values in await cursor.fetchall()]


@contextlib.asynccontextmanager
async def open_images_db(path: Path) -> AsyncIterator[ImagesDb]:
    """Open the database at `path`, made or brought to the present schema if need be.

    Raises DatabaseError when it cannot be read or is of a newer version.
    """
    import aiosqlite

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mind_reserve(path.parent, need_bytes=WRITING_NEEDS_BYTES)
    with translated(path, "using"):
        await _make(path)
        async with aiosqlite.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None) as connection:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute("PRAGMA synchronous = NORMAL")
            await connection.execute("PRAGMA foreign_keys = ON")
            await _migrate(connection, path)
            yield ImagesDb(connection)


async def _make(path: Path) -> None:
    """One process at a time makes it: the change to write-ahead logging fails at once when another connection looks on, whatever
    the busy timeout is."""
    import aiosqlite

    if _is_made(path):
        return
    with contextlib.ExitStack() as lock:
        await asyncio.to_thread(lock.enter_context, locked(path.with_name(f"{path.name}.lock")))
        if not _is_made(path):
            path.touch(mode=0o600)
            async with aiosqlite.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None) as connection:
                await connection.execute("PRAGMA journal_mode = WAL")


def _is_made(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


async def _migrate(connection: aiosqlite.Connection, path: Path) -> None:
    if await _version(connection) == SCHEMA_VERSION:
        return
    async with _transaction(connection):
        version = await _version(connection)  # another process may have been here first
        if version > SCHEMA_VERSION:
            raise DatabaseError(
                f"{path} is of version {version}; this program knows up to {SCHEMA_VERSION}",
                hint="use the newer boxlite that wrote it",
            )
        for step in range(version, SCHEMA_VERSION):
            for statement in _MIGRATIONS[step].split(";"):
                await connection.execute(statement)
        await connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


async def _version(connection: aiosqlite.Connection) -> int:
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


@contextlib.asynccontextmanager
async def _transaction(connection: aiosqlite.Connection) -> AsyncIterator[aiosqlite.Connection]:
    await connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself, as on a full disk
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


def _row(values: sqlite3.Row) -> ImageRow:
    manifest, config, source, repository, size, pulled, used, names = values
    return ImageRow(
        manifest_digest=manifest,
        config_digest=config,
        source_digest=source,
        repository=repository,
        size_bytes=size,
        pulled_at=datetime.fromisoformat(pulled).astimezone(UTC),
        used_at=datetime.fromisoformat(used).astimezone(UTC),
        names=tuple(sorted(names.split("\n"))) if names else (),
    )
