"""The record of boxes: SQLite in `db/boxes.db`, shared by every command and shim of one home.

BoxStore    boxes: insert, resolve, list, change, remove; the log of events
Database    one connection: pragmas, schema and its migrations, transactions, the translation of errors
glance      the names of boxes and images, for a shell that completes them while somebody types
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, whose import would take a shell's completion longer than all of `glance`
if TYPE_CHECKING:
    from engine.store.boxes import BoxStore

__all__ = ["BoxStore"]


def __getattr__(name: str) -> object:
    """Import BoxStore when it is first asked for: `glance` must not pay for it."""
    if name == "BoxStore":
        from engine.store.boxes import BoxStore

        return BoxStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
