"""What a home takes on disk, what of it could go, and letting it go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from engine.disks.qcow2 import find_backing_file
from engine.disks.release import find_idle_bases, remove_idle_bases
from engine.errors import InvalidStateError, NotFoundError
from engine.fsutil import disk_usage_bytes, remove_tree
from engine.layout import Layout
from engine.model import BoxRecord, BoxStatus, DiskUsage, Reclaimable
from engine.runtime.context import Context
from engine.runtime.records import list_boxes, remove_box
from engine.values import dataclass
from engine.vmm.guest_image import find_guest_image

YOUNG_S = 600.0
"""Half-made things younger than this may still be in the making."""
TEMPLATES_CAP_BYTES = 8 * 1024**3
PRUNED = (BoxStatus.STOPPED, BoxStatus.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSize:
    """What a box takes on disk, in bytes: `own_bytes` of its disk, what it has written since it was created;
    `base_bytes` of the image's file system below it, which all boxes of that image share; `log_bytes` of its logs."""

    own_bytes: int
    base_bytes: int
    log_bytes: int


async def box_size(context: Context, record: BoxRecord) -> BoxSize:
    box = context.layout.box(record.id)
    base = find_backing_file(box.disk_path)
    return await asyncio.to_thread(
        lambda: BoxSize(
            own_bytes=disk_usage_bytes(box.disk_path),
            base_bytes=0 if base is None else disk_usage_bytes(base.parent),
            log_bytes=disk_usage_bytes(box.logs_dir),
        )
    )


async def disk_usage(context: Context) -> list[DiskUsage]:
    """What each kind of thing takes, in allocated bytes (as `du` counts), and how much of it nothing needs."""
    from engine.images.store import ImageStore
    from engine.runtime.volumes import VolumeLibrary

    records = await list_boxes(context, include_inactive=True)
    store = ImageStore(context.layout)
    images = await store.rows()
    used = {record.manifest_digest or "" for record in records}
    unused = await store.prune(named_too=True, used=used, dry_run=True)
    reclaim = await find_reclaimable(context, records)
    blobs, parts = await _unneeded_blobs(context, reclaim)
    volumes = await VolumeLibrary(context).list()
    layout = context.layout
    return await asyncio.to_thread(
        lambda: [
            DiskUsage(
                kind="images",
                total=len(images),
                active=sum(row.manifest_digest in used for row in images),
                size_bytes=disk_usage_bytes(layout.images_dir),
                reclaimable_bytes=sum(one.size_bytes for one in unused) + blobs.size_bytes,
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
            DiskUsage(
                kind="volumes",
                total=len(volumes),
                active=sum(bool(volume.used_by) for volume in volumes),
                size_bytes=disk_usage_bytes(layout.volumes_dir),
                reclaimable_bytes=sum(
                    disk_usage_bytes(Path(volume.path)) for volume in volumes if not volume.used_by
                ),
            ),
            _usage("temporary files", layout.tmp_dir, [*reclaim, *parts]),
        ]
    )


async def _unneeded_blobs(
    context: Context, reclaim: Collection[Reclaimable]
) -> tuple[Reclaimable, list[Reclaimable]]:
    """The blobs no image needs, as one, and the parts of unfinished ones that are not among `reclaim`."""
    from engine.images.store import ImageStore

    known, images = {item.path for item in reclaim}, context.layout.images_dir
    files = [path for path in await ImageStore(context.layout).unneeded() if str(path) not in known]
    blobs = [path for path in files if path.is_relative_to(images)]
    size = await asyncio.to_thread(lambda: sum(map(disk_usage_bytes, blobs)))
    parts = [_item("temporary files", path) for path in files if path not in blobs]
    return Reclaimable(kind="blobs", path=str(images), size_bytes=size), parts


def _usage(kind: str, directory: Path, reclaim: Collection[Reclaimable]) -> DiskUsage:
    total = len(_entries(directory))
    idle = [item for item in reclaim if item.kind == kind]
    return DiskUsage(
        kind=kind,
        total=total,
        active=total - len(idle),
        size_bytes=disk_usage_bytes(directory.resolve()),
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
    yield from _leftovers(layout, known)
    for base in find_idle_bases(layout, records):
        yield Reclaimable(kind="bases", path=str(base.path), size_bytes=base.size_bytes)
    templates = list(_templates_over_cap(layout.templates_dir, guest_digest))
    yield from templates
    if guest_digest is not None:
        needed = _guests_of_templates(layout.templates_dir, {item.path for item in templates})
        for path in _entries(layout.guest_dir):
            if path.is_dir() and path.name not in {guest_digest, *needed} and not _is_part(path):
                yield _item("guest images", path)


def _leftovers(layout: Layout, known: Collection[str]) -> Iterator[Reclaimable]:
    """What killed processes left: nothing that was ever whole."""
    for path in _entries(layout.boxes_dir):
        if path.name not in known and _is_old(path):
            yield _item("boxes", path)
    for path in _entries(layout.tmp_dir):
        if _is_old(path):
            yield _item("temporary files", path)


async def remove_leftovers(context: Context) -> list[Reclaimable]:
    """Set right and delete what killed processes left; images, templates and whatever else could be needed again stay."""
    records = await list_boxes(context, include_inactive=True)  # looking at a box sets its record right
    known = {record.id for record in records}
    found = await asyncio.to_thread(lambda: list(_leftovers(context.layout, known)))
    for item in found:
        await asyncio.to_thread(_delete, Path(item.path))
    return found


def _is_part(path: Path) -> bool:
    """Is this what guest images are made of? It is kept: making it anew takes a network."""
    return path.name.startswith("debian-")


def _guests_of_templates(directory: Path, leaving: Collection[str]) -> set[str]:
    """Digests of guest images that a template which stays was made with."""
    return {
        digest for path in _entries(directory) if str(path) not in leaving and (digest := _guest_of(path))
    }


def _guest_of(template: Path) -> str | None:
    import json

    try:
        return str(json.loads((template / "template.json").read_bytes())["guest_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _templates_over_cap(directory: Path, guest_digest: str | None) -> Iterator[Reclaimable]:
    """Templates of a guest image that is not in use any more, and the least recently used ones past the cap. Each start
    touches its template: one that was used a moment ago stays."""
    items = []
    for path in _entries(directory):
        item = _item("templates", path)
        if _guest_of(path) != guest_digest and _is_old(path):
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
    """Has nothing in it been written to for a while?"""
    return time.time() - _written_at(path) > YOUNG_S


def _written_at(path: Path) -> float:
    try:
        newest = path.lstat().st_mtime
        if path.is_dir() and not path.is_symlink():
            newest = max([newest, *(_written_at(entry) for entry in path.iterdir())])
    except FileNotFoundError:  # it is being worked on
        return time.time()
    return newest


async def collect_garbage(context: Context, *, dry_run: bool) -> list[Reclaimable]:
    """Delete (or only name) what `find_reclaimable` finds, and blobs no image needs."""
    from engine.images.store import ImageStore

    records = await list_boxes(context, include_inactive=True)
    found = await find_reclaimable(context, records)
    if dry_run:
        blobs, parts = await _unneeded_blobs(context, found)
        return [*found, *parts, *([blobs] if blobs.size_bytes else [])]
    bases = {str(base.path) for base in await remove_idle_bases(context.layout, context.store)}
    deleted = []
    for item in found:
        if item.kind == "bases":
            if item.path not in bases:
                continue  # a box has been put on it since
        else:
            await asyncio.to_thread(_delete, Path(item.path))
        deleted.append(item)
    freed = await ImageStore(context.layout).sweep()
    if freed:
        deleted.append(Reclaimable(kind="blobs", path=str(context.layout.images_dir), size_bytes=freed))
    return deleted


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


async def prune_images(
    context: Context, *, named_too: bool, dry_run: bool, keep: Collection[str] = ()
) -> list[Reclaimable]:
    """Forget images without a name, `named_too`: and those with one, that no box is made from and whose manifest is not in
    `keep`. Each one's size is what its going frees."""
    from engine.images.store import ImageStore

    used = {record.manifest_digest or "" for record in await list_boxes(context, include_inactive=True)}
    gone = await ImageStore(context.layout).prune(named_too=named_too, used=used | set(keep), dry_run=dry_run)
    return [
        Reclaimable(
            kind="images", path=" ".join(one.row.names) or one.row.config_digest, size_bytes=one.size_bytes
        )
        for one in gone
    ]


async def prunable_boxes(context: Context) -> list[BoxRecord]:
    """Every box that does not run and has run, or failed; those that were never started are kept."""
    records = await list_boxes(context, include_inactive=True)
    return [record for record in records if record.status in PRUNED]


async def prune_boxes(context: Context, records: Iterable[BoxRecord]) -> tuple[list[BoxRecord], int]:
    """Remove boxes, leaving out those that run again or are gone by now; the removed ones and the bytes that freed."""
    removed, freed = [], 0
    for record in records:
        size = await asyncio.to_thread(disk_usage_bytes, context.layout.box(record.id).root)
        try:
            await remove_box(context, record)
        except (NotFoundError, InvalidStateError):
            continue  # somebody else was faster
        removed.append(record)
        freed += size
    return removed, freed
