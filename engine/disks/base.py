"""Bases: one read-only ext4 per image and size, made once, shared by every box of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.disks.ext4 import is_clean_ext4
from engine.disks.qcow2 import is_overlay_of
from engine.errors import InternalError, NotFoundError
from engine.fsutil import disk_usage_bytes, hold_lock, locked, remove_tree, storage_error, try_lock
from engine.layout import ROOTFS_PREFIX, Layout
from engine.model import DEFAULT_DISK_SIZE_GB, Image, RootfsDisk, RuntimeConfig
from engine.progress import ProgressSink, ignore_progress

if TYPE_CHECKING:
    from engine.disks.growing import GrowingFile

BASE_FORMAT = 1
"""Version of a base's directory; one of another version is made anew."""
BASE_NAME = "base.ext4"
OVERLAY_NAME = "empty.qcow2"
RECORD_NAME = "base.json"
_SCRATCH_PREFIX = "base-"


def base_key(manifest_digest: str, size_gb: int) -> str:
    """The name of an image's base of that size."""
    return f"{manifest_digest.partition(':')[2]}-{size_gb}"


async def ensure_base(
    layout: Layout,
    image: Image,
    *,
    size_gb: int = DEFAULT_DISK_SIZE_GB,
    config: RuntimeConfig | None = None,
    progress: ProgressSink = ignore_progress,
    growing: Mapping[str, GrowingFile] | None = None,
) -> RootfsDisk:
    """The base of `image` with at least `size_gb` GiB, made if it is not there. Any number may ask at once.

    `growing` says of each layer, by its digest, how far it has come; without it all of them are in the store. Raises ImageError when a layer is damaged, UnsupportedError for what ext4 cannot hold, ResourceExhaustedError when
    the disk is full or a layer too large.
    """
    key = base_key(image.manifest_digest, size_gb)
    if (found := find_base(layout, key)) is not None:
        return found
    from engine.disks.build import Archive, BaseBuild

    archives = [
        Archive(
            path=layout.blob_path(layer.digest),
            digest=layer.digest,
            diff_id=layer.diff_id,
            what=f"layer {layer.digest[:19]} of {image.reference}",
            growing=None if growing is None else growing[layer.digest],
        )
        for layer in image.layers
    ]
    build = BaseBuild(
        what=image.reference,
        key=key,
        size_gb=size_gb,
        config=config or RuntimeConfig(),
        progress=progress,
    )
    return await _ensure(layout, key, partial(build.from_archives, archives))


async def ensure_base_from_rootfs(
    layout: Layout,
    rootfs: Path,
    *,
    size_gb: int = DEFAULT_DISK_SIZE_GB,
    config: RuntimeConfig | None = None,
    progress: ProgressSink = ignore_progress,
) -> RootfsDisk:
    """A base from a root file system: a tar archive (plain, gzip or zstd), made once per content; or a directory,
    copied as it is now into a base of its own at every call."""
    from engine.disks.build import Archive, BaseBuild

    from_directory = rootfs.is_dir()
    if not from_directory and not rootfs.is_file():
        raise NotFoundError(f"the root file system {rootfs} is neither a directory nor a tar archive")
    content = uuid.uuid4().hex if from_directory else await asyncio.to_thread(_file_digest, rootfs)
    key = f"{ROOTFS_PREFIX}{content}-{size_gb}"
    build = BaseBuild(
        what=str(rootfs),
        key=key,
        size_gb=size_gb,
        config=config or RuntimeConfig(),
        progress=progress,
    )
    if from_directory:
        return await _ensure(layout, key, partial(build.from_directory, rootfs))
    return await _ensure(
        layout,
        key,
        partial(build.from_archives, [Archive(path=rootfs, digest=None, diff_id=None, what=str(rootfs))]),
    )


async def _ensure(layout: Layout, key: str, build: Callable[[Path, Path], Awaitable[None]]) -> RootfsDisk:
    """Have `build` make the base in a scratch directory for its final one, unless there is one by now."""
    target = layout.bases_dir / key
    async with _holding(layout, key):
        found = find_base(layout, key)
        if found is not None:
            return found
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            await asyncio.to_thread(remove_abandoned, layout)
            scratch = layout.tmp_dir / f"{_SCRATCH_PREFIX}{key}"
            remove_tree(scratch)
            scratch.mkdir(mode=0o700, parents=True)
            try:
                await build(scratch, target)
                remove_tree(target)  # only a damaged one, or one of another format, can be there
                (scratch / key).rename(target)
            finally:
                remove_tree(scratch)
        except OSError as error:
            raise storage_error(error, "making a base disk") from error
        made = find_base(layout, key)
    if made is None:
        raise InternalError(f"the base {target} is not whole although it was just made")
    return made


@contextlib.asynccontextmanager
async def _holding(layout: Layout, key: str) -> AsyncIterator[None]:
    """Be the only one who works on a base. The lock's file goes while it is held: those who wait for it see that it is
    gone, and make a new one."""
    path = _lock_path(layout, key)
    async with hold_lock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def remove_abandoned(layout: Layout) -> int:
    """Remove what builds that were killed have left half-made and return the bytes freed."""
    freed = 0
    for scratch in layout.tmp_dir.glob(f"{_SCRATCH_PREFIX}*"):
        path = _lock_path(layout, scratch.name.removeprefix(_SCRATCH_PREFIX))
        lock = try_lock(path)
        if lock is None:
            continue  # its builder lives
        try:
            freed += disk_usage_bytes(scratch)
            remove_tree(scratch)
            path.unlink(missing_ok=True)
        finally:
            os.close(lock)
    return freed


def remove_base(layout: Layout, key: str) -> int:
    """Remove a base that no box needs any more and return the bytes freed; 0 when there is none."""
    directory = layout.bases_dir / key
    with locked(_lock_path(layout, key)):
        freed = disk_usage_bytes(directory)
        remove_tree(directory)
        _lock_path(layout, key).unlink(missing_ok=True)
    return freed


def base_keys(layout: Layout) -> list[str]:
    """The key of every base, sorted: `DIGEST-SIZE`, or `rootfs-DIGEST-SIZE`."""
    return sorted(path.name for path in layout.bases_dir.glob("*") if path.is_dir())


def _lock_path(layout: Layout, key: str) -> Path:
    return layout.locks_dir / f"base-{key}.lock"


def find_base(layout: Layout, key: str) -> RootfsDisk | None:
    """The base under `key` if it is there and whole."""
    directory = layout.bases_dir / key
    base, overlay = directory / BASE_NAME, directory / OVERLAY_NAME
    try:
        record = json.loads((directory / RECORD_NAME).read_bytes())
        size = record["size_bytes"]
        if record["format"] != BASE_FORMAT or base.stat().st_size != size or not is_clean_ext4(base):
            return None
        if not is_overlay_of(overlay, base, size):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return RootfsDisk(base_path=str(base), overlay_path=str(overlay), size_bytes=size)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
