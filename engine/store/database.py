"""One connection to a SQLite file: pragmas, schema, transactions, and the one place where its errors are translated.

Write-ahead log, so that a reader never waits for a writer; `synchronous=NORMAL`, which in that mode loses no
consistency on a power cut (sqlite.org/pragma.html#pragma_synchronous). A writer killed in a transaction leaves
nothing of it behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine import fsutil
from engine.errors import BoxliteError, DatabaseError, ResourceExhaustedError
from engine.store.reserve import READING_NEEDS_BYTES, WRITING_NEEDS_BYTES, mind_reserve
from engine.store.schema import MIGRATIONS, SCHEMA_VERSION

if TYPE_CHECKING:
    from aiosqlite import Connection

BUSY_TIMEOUT_S = 10.0
FULL_BELOW_BYTES = 64 * 1024
"""An I/O error with less room than this on the file system is taken for a full disk."""


class Database:
    """A lazily opened connection. Tasks of one process take turns on it; processes are kept apart by SQLite.

    `prepare` makes the directory of `path`; it is called when the connection is opened.
    """

    def __init__(
        self, path: Path, *, prepare: Callable[[], None], busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        self.path = path
        self._prepare_directory = prepare
        self._busy_timeout_s = busy_timeout_s
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        async with self._turn:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                await connection.close()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection for one query."""
        async with self._turn:
            with translated(self.path, "reading"):
                yield await self._open()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """One transaction that holds the write lock from its start; rolled back if the body raises."""
        async with self._turn:
            with translated(self.path, "writing"):
                connection = await self._open()
                mind_reserve(self.path.parent, need_bytes=WRITING_NEEDS_BYTES)
                try:
                    await connection.execute("BEGIN IMMEDIATE")
                    yield connection
                    await connection.commit()
                except BaseException:
                    await connection.rollback()
                    raise

    async def _open(self) -> Connection:
        if self._connection is None:
            if not self.path.exists():
                await self._create()
            mind_reserve(self.path.parent, need_bytes=READING_NEEDS_BYTES)
            self._connection = await self._connect(self.path)
        return self._connection

    async def _connect(self, path: Path) -> Connection:
        import aiosqlite

        connection = await aiosqlite.connect(path, timeout=self._busy_timeout_s, isolation_level=None)
        try:
            await connection.executescript("PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
            if await self._version(connection) < SCHEMA_VERSION:
                await self._migrate(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _create(self) -> None:
        """Make the database under another name and rename it: nobody meets one that is being made. (The change to
        write-ahead logging fails at once when another connection looks on, whatever the busy timeout is.)"""
        lock = contextlib.ExitStack()
        with _translated_os_errors(), lock:
            self._prepare_directory()
            lock_path = self.path.with_name(f"{self.path.name}.lock")
            await asyncio.to_thread(lock.enter_context, fsutil.locked(lock_path))
            if self.path.exists():
                return
            unfinished = self.path.with_name(f"{self.path.name}.new")
            for suffix in ("", "-wal", "-shm"):
                unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
            unfinished.touch(mode=0o600)  # what SQLite puts beside it is as private as it is
            connection = await self._connect(unfinished)
            try:
                await connection.execute("PRAGMA journal_mode=WAL")
            finally:
                await connection.close()
            unfinished.replace(self.path)

    async def _migrate(self, connection: Connection) -> None:
        await connection.execute("BEGIN IMMEDIATE")
        try:
            for step in MIGRATIONS[await self._version(connection) :]:
                for statement in step:
                    await connection.execute(statement)
            await connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            await connection.commit()
        except BaseException:
            await connection.rollback()
            raise

    async def _version(self, connection: Connection) -> int:
        rows = await connection.execute_fetchall("PRAGMA user_version")
        version = int(next(iter(rows))[0])
        if version > SCHEMA_VERSION:
            raise DatabaseError(
                f"{self.path} has schema version {version}; this boxlite knows up to {SCHEMA_VERSION}",
                hint="a newer boxlite wrote it: use that version, or another home directory (--home)",
            )
        return version


@contextlib.contextmanager
def _translated_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise fsutil.storage_error(error, "opening the database") from error


@contextlib.contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """The seam: what sqlite3 raises becomes one of ours, with what to do about it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path, doing) from error


def _translate(error: sqlite3.Error, path: Path, doing: str) -> BoxliteError:
    message = f"{doing} {path}: {error}"
    primary = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
    match primary:
        case sqlite3.SQLITE_FULL:
            return _disk_full(path, doing)
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN if _is_full(path):
            return _disk_full(path, doing)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            hint = "another command has held the database for too long: see what runs, then try again"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            hint = "check that you own the home directory and that its file system is writable"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            hint = "the file is damaged: move it away (boxes are then no longer known) or restore it from a backup"
        case _:
            return DatabaseError(message)
    return DatabaseError(message, hint=hint)


def _disk_full(path: Path, doing: str) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"{doing} {path}: {os.strerror(errno.ENOSPC)}",
        hint="free disk space (`boxlite df` shows what is used, `boxlite system prune` frees it) and try again",
    )


def _is_full(path: Path) -> bool:
    """SQLite reports a full disk as an I/O error when it hits the shared-memory file beside the log."""
    try:
        space = os.statvfs(path.parent)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < FULL_BELOW_BYTES
