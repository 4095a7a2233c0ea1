"""Images from and to files: root file systems, docker-save archives, OCI archives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO

from engine.errors import InvalidArgumentError
from engine.fsutil import storage_error
from engine.images.layers import StoredLayer, config_document, store_layer, store_manifest
from engine.images.platforms import Platform
from engine.images.reference import ImageReference
from engine.images.store import UNNAMED, ImageStore
from engine.layout import Layout
from engine.model import Image, ImageConfig, RuntimeConfig, utc_now


async def import_rootfs(
    layout: Layout,
    source: Path | IO[bytes],
    reference: str | None,
    config: ImageConfig | None = None,
    *,
    platform: str | None = None,
    message: str = "",
    limits: RuntimeConfig | None = None,
) -> Image:
    """Make an image of one layer from an archive of a root file system: a tar, plain or compressed with gzip or zstd.

    `config` says what runs in it; `config.created` None is now. `platform`: which processor it is for, by default this
    host's. Without `reference` the image has no name. `message` is what the image's history says of it. Raises ImageError when it is no tar, ResourceExhaustedError when it is larger than `limits` allow.
    """
    name = None if reference is None else ImageReference.parse(reference)
    if name is not None and name.digest is not None:
        raise InvalidArgumentError(f"{reference!r} has a digest; a new image cannot be named by one")
    config = config or ImageConfig()
    target = Platform.parse(platform) if platform else Platform.of_host()
    limit_bytes = (limits or RuntimeConfig()).max_layer_decompressed_bytes
    store = ImageStore(layout)
    async with store.adding():
        layer = await asyncio.to_thread(_store, layout, source, limit_bytes)
        created = (config.created or utc_now()).isoformat()
        document = config_document(config, target, [layer.diff_id], created, message)
        digest = await asyncio.to_thread(store_manifest, layout, document, [layer.descriptor])
        return await store.add(digest, name=name, repository=name.name if name else UNNAMED)


def _store(layout: Layout, source: Path | IO[bytes], limit_bytes: int) -> StoredLayer:
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return store_layer(layout, file, limit_bytes=limit_bytes, what=str(source))
        return store_layer(layout, source, limit_bytes=limit_bytes, what="the archive")
    except OSError as error:
        raise storage_error(error, "importing") from error
