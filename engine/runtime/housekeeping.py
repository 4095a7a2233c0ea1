"""What a home takes on disk, what of it could go, and letting it go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from engine.errors import InvalidStateError, NotFoundError
from engine.fsutil import disk_usage_bytes, remove_tree
from engine.model import BoxRecord, BoxStatus, DiskUsage, Reclaimable, utc_now
from engine.runtime.context import Context
from engine.runtime.records import list_boxes, remove_box
from engine.vmm.guest_image import find_guest_image

YOUNG_S = 600.0
"""Half-made things younger than this may still be in the making."""
TEMPLATES_CAP_BYTES = 8 * 1024**3


async def disk_usage(context: Context) -> list[DiskUsage]:
    """What each kind of thing takes, in allocated bytes (as `du` counts), and how much of it nothing needs."""
    from engine.images.store import ImageStore

    records = await list_boxes(context, include_inactive=True)
    images = await ImageStore(context.layout).rows()
    used = {record.manifest_digest for record in records}
    reclaim = await find_reclaimable(context, records)
    layout = context.layout
    return await asyncio.to_thread(
        lambda: [
            DiskUsage(
                kind="images",
                total=len(images),
                active=sum(row.manifest_digest in used for row in images),
                size_bytes=disk_usage_bytes(layout.images_dir),
                reclaimable_bytes=sum(row.size_bytes for row in images if row.manifest_digest not in used),
            ),
            _usage("bases", layout.bases_dir, reclaim),
            _usage("templates", layout.templates_dir, reclaim),
            _usage("guest images", layout.guest_dir, reclaim),
            DiskUsage(
                kind="boxes",
                total=len(records),
                active=sum(record.status.is_active for record in records),
                size_bytes=disk_usage_bytes(layout.boxes_dir),
                reclaimable_bytes=sum(
                    disk_usage_bytes(layout.box(record.id).root)
                    for record in records
                    if not record.status.is_active
                )
                + _sum(reclaim, "boxes"),
            ),
            _usage("volumes", layout.volumes_dir, reclaim),
            _usage("temporary files", layout.tmp_dir, reclaim),
        ]
    )


def _usage(kind: str, directory: Path, reclaim: Collection[Reclaimable]) -> DiskUsage:
    total = len(_entries(directory))
    idle = [item for item in reclaim if item.kind == kind]
    return DiskUsage(
        kind=kind,
        total=total,
        active=total - len(idle),
        size_bytes=disk_usage_bytes(directory),
        reclaimable_bytes=_sum(idle, kind),
    )


def _sum(items: Iterable[Reclaimable], kind: str) -> int:
    return sum(item.size_bytes for item in items if item.kind == kind)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


async def find_reclaimable(context: Context, records: Collection[BoxRecord]) -> list[Reclaimable]:
    """Everything that may be deleted without anybody noticing: derived things that no box needs, and what killed
    processes left lying."""
    guest = await asyncio.to_thread(find_guest_image, context.layout)
    return await asyncio.to_thread(
        lambda: list(_reclaimable(context, records, None if guest is None else guest.digest))
    )


def _reclaimable(
    context: Context, records: Collection[BoxRecord], guest_digest: str | None
) -> Iterator[Reclaimable]:
    layout = context.layout
    known = {record.id for record in records}
    needed = {_base_stem(record.manifest_digest) for record in records}
    for path in _entries(layout.boxes_dir):
        if path.name not in known and _is_old(path):
            yield _item("boxes", path)
    for path in _entries(layout.bases_dir):
        if path.name.rpartition("-")[0] not in needed and path.name not in needed:
            yield _item("bases", path)
    yield from _templates_over_cap(layout.templates_dir, guest_digest)
    if guest_digest is not None:
        for path in _entries(layout.guest_dir):
            if path.is_dir() and path.name != guest_digest and not path.name.startswith("debian-"):
                yield _item("guest images", path)
    for path in _entries(layout.tmp_dir):
        if _is_old(path):
            yield _item("temporary files", path)


def _base_stem(manifest_digest: str | None) -> str:
    return (manifest_digest or "").removeprefix("sha256:")


def _templates_over_cap(directory: Path, guest_digest: str | None) -> Iterator[Reclaimable]:
    """Templates of a guest image that is not in use any more, and the least recently used ones past the cap."""
    import json

    items = []
    for path in _entries(directory):
        try:
            document = json.loads((path / "template.json").read_bytes())
            stale = document.get("guest_digest") != guest_digest
        except (OSError, ValueError):
            stale = True
        item = _item("templates", path)
        if stale:
            yield item
        else:
            items.append((path.stat().st_mtime, item))
    total = sum(item.size_bytes for _, item in items)
    for _, item in sorted(items, key=lambda pair: pair[0]):
        if total <= TEMPLATES_CAP_BYTES:
            return
        total -= item.size_bytes
        yield item


def _item(kind: str, path: Path) -> Reclaimable:
    return Reclaimable(kind=kind, path=str(path), size_bytes=disk_usage_bytes(path))


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > YOUNG_S
    except FileNotFoundError:
        return False


async def collect_garbage(context: Context, *, dry_run: bool) -> list[Reclaimable]:
    """Delete (or only name) what `find_reclaimable` finds, and blobs no image needs."""
    from engine.images.store import ImageStore

    records = await list_boxes(context, include_inactive=True)
    found = await find_reclaimable(context, records)
    if dry_run:
        return found
    for item in found:
        await asyncio.to_thread(_delete, Path(item.path))
    freed = await ImageStore(context.layout).sweep()
    if freed:
        found.append(Reclaimable(kind="blobs", path=str(context.layout.images_dir), size_bytes=freed))
    return found


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


async def prune_boxes(context: Context) -> list[BoxRecord]:
    """Remove every box that does not run and has run, or failed; those that were never started stay."""
    removed = []
    for record in await list_boxes(context, include_inactive=True):
        if record.status in (BoxStatus.STOPPED, BoxStatus.FAILED):
            try:
                await remove_box(context, record)
            except (NotFoundError, InvalidStateError):
                continue  # somebody else was faster
            removed.append(record)
    return removed


async def remove_due(context: Context) -> None:
    """Remove boxes whose `--auto-delete` is due and whose shim, which would have done it, was killed."""
    for record in await context.store.list((BoxStatus.STOPPED, BoxStatus.FAILED)):
        finished, after_s = record.state.finished_at, record.spec.auto_delete_s
        if finished is None or not after_s or utc_now() < finished + timedelta(seconds=after_s):
            continue
        try:
            await remove_box(context, record)
        except (NotFoundError, InvalidStateError):
            continue
