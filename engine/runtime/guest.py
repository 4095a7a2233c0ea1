"""The guest image as the runtime wants it: there, and of this version."""

from __future__ import annotations

from engine.progress import Progress
from engine.runtime.context import Context
from engine.vmm.guest_image import GuestImage, build_guest_image, find_guest_image, guest_inputs
from engine.vmm.spec import GuestFiles


async def get_guest_files(context: Context) -> GuestFiles:
    """The guest image of this version; the first start on a home builds it, and says so."""
    image = find_guest_image(context.layout)
    if image is None or image.inputs != guest_inputs():
        context.progress(Progress(stage="guest-image", message="building the guest image, once"))
        image = await build_guest_image(context.layout, progress=context.progress)
    return guest_files(image)


def guest_files(image: GuestImage) -> GuestFiles:
    return GuestFiles(
        digest=image.digest,
        kernel_path=str(image.kernel_path),
        initramfs_path=str(image.initramfs_path),
        root_path=str(image.root_path),
    )


async def setup_guest(context: Context, *, from_ref: str | None, force: bool) -> str:
    """Build the guest image, or pull it from a registry; the digest of the one then in use. One of this version that
    is there is kept unless `force`."""
    image = find_guest_image(context.layout)
    if image is not None and image.inputs == guest_inputs() and not force and from_ref is None:
        return image.digest
    if from_ref is not None:
        from engine.runtime.guest_artifact import pull_guest_image

        return (await pull_guest_image(context, from_ref)).digest
    return (await build_guest_image(context.layout, progress=context.progress, force=force)).digest


async def push_guest(context: Context, reference: str) -> str:
    from engine.runtime.guest_artifact import push_guest_image

    return await push_guest_image(context, reference)
