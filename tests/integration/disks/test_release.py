"""Which bases go and which stay."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine.disks.base import base_key, base_keys, ensure_base, ensure_base_from_rootfs
from engine.disks.qcow2 import create_overlay
from engine.disks.release import find_idle_bases, remove_idle_bases, touch_base, using_bases
from engine.fsutil import disk_usage_bytes
from engine.layout import Layout
from engine.store import BoxStore
from tests.framework.image_builder import build_image, file
from tests.framework.records import make_record
from tests.framework.stored import store_image


async def make_bases(layout: Layout, count: int) -> list[str]:
    """Bases of so many images, last used in their order; their keys."""
    keys = []
    for number in range(count):
        image = await store_image(layout, build_image([[file(f"f{number}")]]), f"localhost/i{number}:1")
        disk = await ensure_base(layout, image, size_gb=10)
        os.utime(Path(disk.base_path).with_name("base.json"), (1000 + number, 1000 + number))
        keys.append(base_key(image.manifest_digest, 10))
    return keys


async def test_base_that_a_box_needs_is_never_idle(layout: Layout) -> None:
    one, two = await make_bases(layout, 2)
    record = make_record("web", manifest_digest=f"sha256:{one.rpartition('-')[0]}")
    assert [base.key for base in find_idle_bases(layout, [record])] == [two]
    assert [base.key for base in find_idle_bases(layout, [])] == [one, two]


async def test_base_under_a_boxs_disk_stays_whatever_its_record_says(layout: Layout) -> None:
    (key,) = await make_bases(layout, 1)
    image_digest = f"sha256:{key.rpartition('-')[0]}"
    disk = await ensure_base_from_rootfs(layout, layout.bases_dir.parent / "locks")
    record = make_record("web", manifest_digest=image_digest)
    layout.box(record.id).root.mkdir(parents=True)
    await create_overlay(disk, layout.box(record.id).disk_path)
    assert find_idle_bases(layout, [record]) == []


async def test_least_recently_used_bases_go_until_the_rest_fits(layout: Layout) -> None:
    first, second, third = await make_bases(layout, 3)
    touch_base(str(layout.bases_dir / first / "base.ext4"))
    room = disk_usage_bytes(layout.bases_dir) - 1
    async with BoxStore(layout) as store:
        await store.insert(make_record("web", manifest_digest=f"sha256:{third.rpartition('-')[0]}"))
        assert [base.key for base in await remove_idle_bases(layout, store, above_bytes=room)] == [second]
        assert await remove_idle_bases(layout, store, above_bytes=room) == []
        assert [base.key for base in await remove_idle_bases(layout, store)] == [first]
    assert base_keys(layout) == [third]


async def test_nothing_goes_while_a_box_is_put_on_a_base(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.disks.release._PATIENCE_S", 0.1)
    (key,) = await make_bases(layout, 1)
    async with BoxStore(layout) as store:
        async with using_bases(layout), using_bases(layout):
            assert await remove_idle_bases(layout, store) == []
        await asyncio.sleep(0)
        assert [base.key for base in await remove_idle_bases(layout, store)] == [key]
