"""Images as the runtime uses them: had when a box is created, found again when it starts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.disks.base import base_key, ensure_base, ensure_base_from_rootfs, find_base
from engine.disks.release import remove_idle_bases, touch_base, using_bases
from engine.errors import ImageNotFoundError
from engine.images.local_stores import LocalSource, load_from_local, parse_local_source
from engine.images.pull import pull as pull_image
from engine.images.store import ImageStore
from engine.layout import ROOTFS_PREFIX
from engine.model import DEFAULT_DISK_SIZE_GB, Image, ImageConfig, PullPolicy, RootfsDisk, utc_now
from engine.runtime.assembly import Assembly
from engine.runtime.context import Context
from engine.runtime.trimming import trim_bases, trim_images
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.model import BoxRecord, BoxSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a box is made from. `key` is what is recorded of it: a manifest's digest, or the name of a base that was
    made from a root file system."""

    key: str
    config_digest: str | None
    config: ImageConfig


@contextlib.asynccontextmanager
async def source_for_spec(context: Context, spec: BoxSpec, policy: PullPolicy) -> AsyncIterator[Source]:
    """Have the image of a new box in the store. Within the context the box is to be put on record; a base that was made
    for it goes again when that fails. Raises ImageError and its kinds, NotFoundError for a rootfs path."""
    if spec.rootfs is None:
        assert spec.image is not None
        size_gb = spec.disk_size_gb or DEFAULT_DISK_SIZE_GB
        image = await pull(context, spec.image, platform=spec.platform, policy=policy, size_gb=size_gb)
        yield _source(image)
        return
    made: list[str] = []
    try:
        async with using_bases(context.layout):
            disk = await ensure_base_from_rootfs(
                context.layout,
                Path(spec.rootfs),
                size_gb=spec.disk_size_gb or DEFAULT_DISK_SIZE_GB,
                config=context.config,
                progress=context.progress,
            )
            made.append(Path(disk.base_path).parent.name)
            yield Source(key=made[0], config_digest=None, config=ImageConfig(cmd=("/bin/sh",)))
    except BaseException:
        await remove_idle_bases(context.layout, context.store, only=made)
        raise


async def source_of_box(context: Context, record: BoxRecord) -> Source:
    """What the box was created from, whatever its image's name means now."""
    key = record.manifest_digest or ""
    if key.startswith(ROOTFS_PREFIX):
        return Source(key=key, config_digest=None, config=ImageConfig(cmd=("/bin/sh",)))
    return _source(await _image_of_box(context, record))


async def _image_of_box(context: Context, record: BoxRecord) -> Image:
    image = await ImageStore(context.layout).find_by_id(record.manifest_digest or "")
    if image is None:
        raise ImageNotFoundError(
            f"its image {record.spec.image} ({(record.manifest_digest or '')[:19]}) is not in the store any more",
            hint=f"boxlite pull {record.spec.image}",
        )
    return image


def _source(image: Image) -> Source:
    return Source(key=image.manifest_digest, config_digest=image.config_digest, config=image.config)


async def base_of_box(context: Context, record: BoxRecord) -> RootfsDisk:
    """The base disk under a box, made if it is not there. The box is on record, so it stays."""
    layout, key = context.layout, record.manifest_digest or ""
    if key.startswith(ROOTFS_PREFIX):
        found = find_base(layout, key)
        if found is None:
            raise ImageNotFoundError(f"the base disk {key} of its root file system is gone")
        return found
    image = await _image_of_box(context, record)
    size_gb = record.spec.disk_size_gb or DEFAULT_DISK_SIZE_GB
    is_new = not (layout.bases_dir / base_key(image.manifest_digest, size_gb)).exists()
    async with using_bases(layout):
        disk = await ensure_base(
            layout,
            image,
            size_gb=size_gb,
            config=context.config,
            progress=context.progress,
        )
    if is_new:
        await trim_bases(context)
    touch_base(disk.base_path)
    return disk


async def pull(
    context: Context,
    reference: str,
    *,
    platform: str | None,
    policy: PullPolicy,
    size_gb: int = DEFAULT_DISK_SIZE_GB,
) -> Image:
    """Have the image in the store, from wherever the reference says. With one that comes from a registry comes its base
    of that size, so that its first box starts like every other."""
    local = parse_local_source(reference)
    if local is not None:
        return await _pull_from_local(context, local, platform, policy)
    begun = utc_now()
    image = await pull_image(
        context.layout,
        context.config,
        reference,
        platform=platform,
        policy=policy,
        progress=context.progress,
        arrivals=Assembly(context, size_gb=size_gb),
    )
    if image.pulled_at >= begun:
        await trim_images(context)
    return image


async def _pull_from_local(
    context: Context, local: LocalSource, platform: str | None, policy: PullPolicy
) -> Image:
    """As from a registry: with MISSING, what is here under that name already is not fetched again."""
    if policy is not PullPolicy.ALWAYS:
        try:
            return await ImageStore(context.layout).get(local.name)
        except ImageNotFoundError:
            if policy is PullPolicy.NEVER:
                raise
    loaded = await load_from_local(context.layout, local, platform=platform, limits=context.config)
    return loaded[0]
