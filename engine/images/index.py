"""The store's index.json, by which other tools find the images in it (image-spec, image-layout.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from engine.fsutil import write_atomic
from engine.images.manifest import OCI_INDEX, OCI_MANIFEST
from engine.images.reference import ImageReference
from engine.layout import Layout
from engine.store.images_db import ImageRow

_REF_NAME = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"


def write_index(layout: Layout, rows: Sequence[ImageRow]) -> None:
    """Name every image of `rows` whose manifest is there, once for each of its names. Raises OSError."""
    manifests: list[dict[str, object]] = []
    for row in rows:
        path = layout.blob_path(row.manifest_digest)
        if not path.exists():
            continue
        media_type = json.loads(path.read_bytes()).get("mediaType") or OCI_MANIFEST
        entry = {"mediaType": media_type, "digest": row.manifest_digest, "size": path.stat().st_size}
        for name in row.names or (None,):
            manifests.append(entry | ({"annotations": _notes(name)} if name else {}))
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    write_atomic(layout.images_dir / "index.json", json.dumps(document, indent=2).encode() + b"\n")


def _notes(name: str) -> dict[str, str]:
    tag = ImageReference.parse(name).tag
    return {_FULL_NAME: name} | ({_REF_NAME: tag} if tag else {})
