"""The tables and how one version of them becomes the next.

`PRAGMA user_version` holds the version. A step is never changed once it was released; a change is a new step.

boxes   one row a box. `spec` is what the box was asked to be, `state` what it is: JSON documents (see documents.py).
        `status` is derived from `state`, so that they cannot disagree; the partial index on it keeps `ls` independent
        of how many stopped boxes there are. Times are microseconds since 1970.
events  what happened, in order. `cursor` is never used twice, even after old events went.
"""

from __future__ import annotations

from engine.model import BoxStatus

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE boxes (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE,
            created_us INTEGER NOT NULL,
            manifest_digest TEXT,
            config_digest TEXT,
            spec TEXT NOT NULL,
            state TEXT NOT NULL,
            status TEXT NOT NULL GENERATED ALWAYS AS (json_extract(state, '$.status')) STORED
        )
        """,
        """
        CREATE INDEX boxes_active ON boxes (created_us)
            WHERE status IN ('running', 'stopping', 'paused')
        """,
        """
        CREATE TABLE events (
            cursor INTEGER PRIMARY KEY AUTOINCREMENT,
            time_us INTEGER NOT NULL,
            box_id TEXT NOT NULL,
            box_name TEXT NOT NULL,
            kind TEXT NOT NULL,
            reason TEXT NOT NULL,
            attributes TEXT NOT NULL
        )
        """,
    ),
)
"""Step N brings version N to N + 1."""

SCHEMA_VERSION = len(MIGRATIONS)

ACTIVE_STATUSES = frozenset(status for status in BoxStatus if status.is_active)
ACTIVE_CONDITION = "status IN ('running', 'stopping', 'paused')"
"""The condition of `boxes_active`; a query must repeat it word for word to be answered from that index
(sqlite.org/partialindex.html, section 3)."""
