"""Keeping images within their cap. What every pull asks, so it loads little."""

from __future__ import annotations

import asyncio

from engine.fsutil import disk_usage_bytes
from engine.model import Reclaimable
from engine.runtime.context import Context

IMAGES_CAP_BYTES = 40 * 1024**3


async def trim_images(context: Context, *, above_bytes: int = IMAGES_CAP_BYTES) -> list[Reclaimable]:
    """When images take more than that, forget those that lost their name to newer ones and that no box is made from."""
    if await asyncio.to_thread(disk_usage_bytes, context.layout.images_dir) <= above_bytes:
        return []
    from engine.runtime.housekeeping import prune_images

    return await prune_images(context, named_too=False, dry_run=False)
