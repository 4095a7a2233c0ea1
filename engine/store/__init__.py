"""The record of boxes: SQLite in `db/boxes.db`, shared by every command and shim of one home.

BoxStore    boxes: insert, resolve, list, change, remove; the log of events
Database    one connection: pragmas, schema and its migrations, transactions, the translation of errors
"""

from engine.store.boxes import BoxStore

__all__ = ["BoxStore"]
