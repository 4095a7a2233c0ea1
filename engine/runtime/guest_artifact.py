"""The guest image as an OCI artifact, for hosts that cannot build one and for releases."""

from __future__ import annotations

import asyncio

from engine.errors import ImageError
from engine.fsutil import scratch_dir, write_atomic
from engine.images.artifact import pull_artifact, push_artifact
from engine.progress import Progress
from engine.runtime.context import Context
from engine.vmm.guest_image import (
    CURRENT_NAME,
    GuestImage,
    build_guest_image,
    load_guest_image,
    verify_guest_image,
)

MEDIA_TYPE = "application/vnd.boxlite.guest.file.v1"


async def push_guest_image(context: Context, reference: str) -> str:
    """Publish the guest image in use, building it first where there is none; the manifest's digest."""
    image = await build_guest_image(context.layout, progress=context.progress)
    files = sorted(path for path in image.kernel_path.parent.iterdir() if path.is_file())
    context.progress(Progress(stage="guest-image", message=f"pushing the guest image to {reference}"))
    return await push_artifact(context.layout, context.config, reference, files, media_type=MEDIA_TYPE)


async def pull_guest_image(context: Context, reference: str) -> GuestImage:
    """Fetch a published guest image and make it the one in use. Its content must be what its digest says, and its agent
    that of this version."""
    layout = context.layout
    context.progress(Progress(stage="guest-image", message=f"fetching the guest image {reference}"))
    with scratch_dir(layout.tmp_dir, "guest-") as scratch:
        await pull_artifact(layout, context.config, reference, scratch, media_type=MEDIA_TYPE)
        try:
            image = load_guest_image(scratch)
            await asyncio.to_thread(verify_guest_image, image)
        except FileNotFoundError as error:
            raise ImageError(f"{reference} lacks a file of a guest image: {error.filename}") from error
        target = layout.guest_dir / image.digest
        if not target.exists():
            scratch.rename(target)
    write_atomic(layout.guest_dir / CURRENT_NAME, f"{image.digest}\n".encode())
    return load_guest_image(target)
