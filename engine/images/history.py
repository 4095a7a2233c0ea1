"""How an image came to be: the steps its builder wrote into its configuration (OCI image-spec, config.md, "history")."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from engine.images.blobs import read_blob
from engine.layout import Layout
from engine.model import Image
from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One step. `layer_digest` None: it changed no files; `size_bytes` is its layer's as stored."""

    created: datetime | None
    created_by: str
    comment: str
    layer_digest: str | None = None
    size_bytes: int = 0


def read_history(layout: Layout, image: Image) -> list[HistoryEntry]:
    """The steps, the last one first. Layers of which the builder says nothing are steps without words.

    Raises MetadataError when the configuration is gone.
    """
    steps = json.loads(read_blob(layout, image.config_digest)).get("history")
    found: list[HistoryEntry] = []
    layers = iter(image.layers)
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, dict):
            continue
        layer = None if step.get("empty_layer") is True else next(layers, None)
        found.append(
            HistoryEntry(
                created=_time(step.get("created")),
                created_by=_text(step, "created_by"),
                comment=_text(step, "comment"),
                layer_digest=layer.digest if layer else None,
                size_bytes=layer.size_bytes if layer else 0,
            )
        )
    found += [
        HistoryEntry(
            created=None, created_by="", comment="", layer_digest=layer.digest, size_bytes=layer.size_bytes
        )
        for layer in layers
    ]
    return found[::-1]


def _text(step: dict[str, Any], key: str) -> str:
    value = step.get(key)
    return value if isinstance(value, str) else ""


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else None
