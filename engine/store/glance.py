"""The names of boxes, images and volumes, read in a few milliseconds while somebody types.

Nothing is waited for, set right or created: a name that is a second old is good enough for a shell's list. A home that is
not there, is locked or is of another version has no names.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

MOST = 500
"""More candidates than that help nobody."""


def glance_boxes(
    home: str, *, beginning: str = "", statuses: Sequence[str] = ()
) -> list[tuple[str, str, str]]:
    """Name, status and image of boxes, the newest first; with `statuses` only those."""
    wanted = f" {' '.join(statuses)} " if statuses else ""
    rows = _rows(
        f"{home}/db/boxes.db",
        "SELECT name, status, coalesce(json_extract(spec, '$.image'), json_extract(spec, '$.rootfs'), '')"
        " FROM boxes WHERE substr(name, 1, ?) = ? AND (? = '' OR instr(?, ' ' || status || ' '))"
        " ORDER BY created_us DESC LIMIT ?",
        (len(beginning), beginning, wanted, wanted, MOST),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def glance_running_box(home: str, ref: str) -> str | None:
    """The id of the running box that is called `ref`, or whose id begins so."""
    rows = _rows(
        f"{home}/db/boxes.db",
        "SELECT id FROM boxes WHERE status = 'running' AND (name = ? OR substr(id, 1, ?) = ?)"
        " ORDER BY name = ? DESC LIMIT 1",
        (ref, len(ref), ref, ref),
    )
    return rows[0][0] if rows else None


def glance_images(home: str, *, beginning: str = "") -> list[str]:
    """The names of images. Those of Docker Hub come in the short form that people type."""
    rows = _rows(f"{home}/db/images.db", "SELECT reference FROM names ORDER BY reference LIMIT ?", (MOST,))
    names = dict.fromkeys(_short(str(row[0])) for row in rows if "@" not in str(row[0]))
    return [name for name in names if name.startswith(beginning)]


def _short(reference: str) -> str:
    for prefix in ("docker.io/library/", "docker.io/"):
        if reference.startswith(prefix):
            return reference.removeprefix(prefix)
    return reference


def glance_volumes(home: str, *, beginning: str = "") -> list[str]:
    """The names of managed volumes."""
    try:
        names = os.listdir(f"{home}/volumes/named")
    except OSError:
        return []
    return sorted(name for name in names if name.startswith(beginning) and not name.startswith("."))[:MOST]


def _rows(path: str, query: str, values: Sequence[object]) -> list[tuple[str, ...]]:
    try:
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=0.05)
    except sqlite3.Error:
        return []
    try:
        return connection.execute(query, tuple(values)).fetchall()
    except sqlite3.Error:
        return []
    finally:
        connection.close()


def _quoted(path: str) -> str:
    """A path as part of a URI (sqlite.org/uri.html)."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
