"""How the machine of a box is confined, as its shim wrote it down."""

from __future__ import annotations

import json
from typing import Any

from engine.layout import Layout
from engine.model import BoxRecord


def find_jail(layout: Layout, record: BoxRecord) -> dict[str, Any] | None:
    """What `engine.jailer.applied.describe` said of the machine that runs; None when none does, or not for long enough."""
    if not record.status.is_active:
        return None
    try:
        document = json.loads(layout.box(record.id).jail_path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
