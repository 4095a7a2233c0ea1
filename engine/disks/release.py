"""Which bases boxes need, and letting go of the others.

Whoever puts a box on a base holds `using_bases` from finding the base until the box is on record; whoever removes
bases looks at the records while nobody holds it. So no base goes that a box is about to need.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.disks.base import RECORD_NAME, base_key, base_keys, remove_base
from engine.disks.qcow2 import find_backing_file
from engine.fsutil import disk_usage_bytes, hold_lock
from engine.layout import ROOTFS_PREFIX, Layout
from engine.model import DEFAULT_DISK_SIZE_GB
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.model import BoxRecord
    from engine.store import BoxStore

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleBase:
    """A base that no box needs. `used_at` is when a box last started on it, in seconds since 1970."""

    key: str
    path: Path
    size_bytes: int
    used_at: float


def using_bases(layout: Layout) -> contextlib.AbstractAsyncContextManager[int]:
    """While this is held, no base is removed by anybody."""
    return hold_lock(_lock_path(layout), shared=True)


def touch_base(base_path: str) -> None:
    """Note that a box starts on this base now."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(Path(base_path).with_name(RECORD_NAME))


def find_idle_bases(layout: Layout, records: Iterable[BoxRecord]) -> list[IdleBase]:
    """The bases that none of the boxes needs, the least recently used first."""
    needed = {key for record in records for key in _keys_of(layout, record)}
    idle = []
    for key in base_keys(layout):
        if key not in needed:
            path = layout.bases_dir / key
            used_at = _used_at(path)
            idle.append(IdleBase(key=key, path=path, size_bytes=disk_usage_bytes(path), used_at=used_at))
    return sorted(idle, key=lambda base: base.used_at)


async def remove_idle_bases(
    layout: Layout, store: BoxStore, *, only: Collection[str] | None = None, above_bytes: int = 0
) -> list[IdleBase]:
    """Remove bases that no box needs (of those in `only`, if given), the least recently used first, until all bases take
    no more than `above_bytes`. What was removed: nothing while boxes are being put on bases for longer than a moment.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            lock = contextlib.AsyncExitStack()
            await lock.enter_async_context(hold_lock(_lock_path(layout)))
    except TimeoutError:
        return []
    async with lock:
        records = await store.list()
        return await asyncio.to_thread(_remove, layout, records, only, above_bytes)


def _remove(
    layout: Layout, records: Iterable[BoxRecord], only: Collection[str] | None, above_bytes: int
) -> list[IdleBase]:
    left = disk_usage_bytes(layout.bases_dir) if above_bytes else 0
    removed = []
    for base in find_idle_bases(layout, records):
        if above_bytes and left <= above_bytes:
            break
        if only is None or base.key in only:
            left -= remove_base(layout, base.key)
            removed.append(base)
    return removed


def _keys_of(layout: Layout, record: BoxRecord) -> Iterable[str]:
    """What the box would be put on, and what its disk does lie on."""
    source = record.manifest_digest or ""
    if source.startswith(ROOTFS_PREFIX):
        yield source
    elif source:
        yield base_key(source, record.spec.disk_size_gb or DEFAULT_DISK_SIZE_GB)
    backing = find_backing_file(layout.box(record.id).disk_path)
    if backing is not None:
        yield backing.parent.name


def _used_at(path: Path) -> float:
    try:
        return (path / RECORD_NAME).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _lock_path(layout: Layout) -> Path:
    return layout.locks_dir / "bases.lock"
