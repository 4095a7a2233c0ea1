"""A disk of layers that a test makes up."""

from __future__ import annotations

from engine.disks.base import ensure_base
from engine.layout import Layout
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import Entry, build_image
from tests.framework.stored import store_image


async def disk_of(layout: Layout, *layers: list[Entry] | bytes, compression: str = "none") -> Ext4Image:
    """The base that they become, which e2fsck has found no fault with."""
    image = await store_image(layout, build_image(layers, compression=compression))
    found = Ext4Image((await ensure_base(layout, image, size_gb=1)).base_path)
    found.check()
    return found
