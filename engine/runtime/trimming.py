"""Keeping images and bases within their caps. What every pull asks, so it loads little."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.fsutil import disk_usage_bytes
from engine.runtime.context import Context

if TYPE_CHECKING:
    from engine.model import Reclaimable

IMAGES_CAP_BYTES = 40 * 1024**3
BASES_CAP_BYTES = 20 * 1024**3
"""Bases that no box needs stay for the next box of their image until all bases together take more than this."""


async def trim_images(context: Context, *, above_bytes: int = IMAGES_CAP_BYTES) -> list[Reclaimable]:
    """When images take more than that, forget those that lost their name to newer ones and that no box is made from."""
    if await asyncio.to_thread(disk_usage_bytes, context.layout.images_dir) <= above_bytes:
        return []
    from engine.runtime.housekeeping import prune_images

    return await prune_images(context, named_too=False, dry_run=False)


async def trim_bases(context: Context, *, above_bytes: int = BASES_CAP_BYTES) -> None:
    """When bases take more than that, remove those that no box needs, the least recently used first, until they do not."""
    if await asyncio.to_thread(disk_usage_bytes, context.layout.bases_dir) > above_bytes:
        from engine.disks.release import remove_idle_bases

        await remove_idle_bases(context.layout, context.store, above_bytes=above_bytes)
