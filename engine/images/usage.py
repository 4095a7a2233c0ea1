"""Which image needs which blob, and what disk space that amounts to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.fsutil import disk_usage_bytes
from engine.images.blobs import has_blob
from engine.layout import Layout
from engine.store.images_db import ImageRow


def blobs_of(layout: Layout, row: ImageRow) -> set[str]:
    """The digests of everything an image needs, as far as its manifest is there."""
    found = {row.manifest_digest, row.config_digest, row.source_digest}
    if has_blob(layout, row.manifest_digest):
        manifest = json.loads(layout.blob_path(row.manifest_digest).read_bytes())
        found |= {layer["digest"] for layer in manifest["layers"]}
    return found


def stored_blobs(layout: Layout) -> Iterator[tuple[str, Path]]:
    """Every blob that is there: its digest and its file."""
    for directory in (layout.images_dir / "blobs").glob("*"):
        for path in directory.iterdir():
            yield f"{directory.name}:{path.name}", path


def unneeded_files(layout: Layout, rows: Sequence[ImageRow]) -> Iterator[Path]:
    """Blobs that none of `rows`, which are all there are, needs, and unfinished ones."""
    needed = {digest for row in rows for digest in blobs_of(layout, row)}
    yield from (path for digest, path in stored_blobs(layout) if digest not in needed)
    for pattern in ("blob-*.part", "layer-*"):
        yield from layout.tmp_dir.glob(pattern)


def freed_by(layout: Layout, rows: Sequence[ImageRow], going: Sequence[ImageRow]) -> list[int]:
    """The bytes on disk that each of the `going` images frees when they go one after another and the rest of `rows` stays.
    Together they are what all of them free."""
    users = Counter(digest for row in rows for digest in blobs_of(layout, row))
    freed = []
    for row in going:
        blobs = blobs_of(layout, row)
        users.subtract(blobs)
        freed.append(sum(disk_usage_bytes(layout.blob_path(digest)) for digest in blobs if not users[digest]))
    return freed
