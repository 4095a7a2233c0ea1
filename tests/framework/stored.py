"""Put a built image into a store without a registry."""

from __future__ import annotations

from engine.images.blobs import ensure_layout, write_blob
from engine.images.reference import ImageReference
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import Image
from tests.framework.image_builder import BuiltImage


async def store_image(layout: Layout, built: BuiltImage, name: str = "localhost/test") -> Image:
    ensure_layout(layout)
    for digest, blob in built.blobs.items():
        write_blob(layout, digest, blob)
    write_blob(layout, built.digest, built.document)
    reference = ImageReference.parse(name)
    return await ImageStore(layout).add(built.digest, name=reference, repository=reference.name)
