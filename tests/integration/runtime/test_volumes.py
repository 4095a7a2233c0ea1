"""Volumes on record and on disk: made once, found, refused while needed, gone whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import InvalidArgumentError, InvalidStateError, NotFoundError
from engine.model import BoxSpec, VolumeKind, VolumeSpec
from engine.runtime import Runtime
from engine.runtime.records import insert_box
from engine.runtime.volumes import volume_dir


@pytest.fixture
async def runtime(tmp_path: Path):  # type: ignore[no-untyped-def]
    async with Runtime(tmp_path / "home") as runtime:
        yield runtime


async def box_with(runtime: Runtime, name: str, *volumes: VolumeSpec) -> str:
    record = await insert_box(runtime._context, BoxSpec(volumes=volumes), name, None, None)
    return record.id


def named(source: str) -> VolumeSpec:
    return VolumeSpec(kind=VolumeKind.NAMED, source=source, target="/data")


async def test_volume_that_is_made_twice_is_made_once(runtime: Runtime) -> None:
    first, *others = await asyncio.gather(
        *(runtime.volumes.create("data", labels={"n": str(n)}) for n in range(5))
    )
    Path(first.path, "kept").write_text("x")
    assert all(other == first for other in others)
    again = await runtime.volumes.create("data")
    assert again == first and again.labels["n"] in "01234" and Path(again.path, "kept").exists()
    assert (Path(again.path).stat().st_mode & 0o777, Path(again.path).parent.stat().st_mode & 0o077) == (
        0o777,
        0,
    )
    assert len((await runtime.volumes.create()).name) == 64


@pytest.mark.parametrize("name", ["", "x", "../x", "a/b", ".hidden", "a b", "a" * 200, "new\nline"])
async def test_volume_name_that_is_none_is_refused(runtime: Runtime, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await runtime.volumes.create(name)
    with pytest.raises(NotFoundError):
        await runtime.volumes.remove(name)


async def test_volume_that_a_box_mounts_stays(runtime: Runtime) -> None:
    await runtime.volumes.create("data")
    await runtime.volumes.create("idle")
    box = await box_with(runtime, "user", named("data"))
    assert (await runtime.volumes.get("data")).used_by == ("user",)
    with pytest.raises(InvalidStateError, match="'data' is mounted by box user"):
        await runtime.volumes.remove("data")
    assert [volume.name for volume, _ in await runtime.volumes.prune(await runtime.volumes.list())] == [
        "idle"
    ]
    volumes = next(line for line in await runtime.disk_usage() if line.kind == "volumes")
    assert (volumes.total, volumes.active, volumes.reclaimable_bytes) == (1, 1, 0)
    await runtime.remove(box)
    await runtime.volumes.remove("data")
    assert await runtime.volumes.list() == []
    assert list(runtime.layout.tmp_dir.iterdir()) == []


async def test_anonymous_volume_that_outlives_its_box_is_listed_mounted_by_its_name_and_pruned(
    runtime: Runtime,
) -> None:
    box = await box_with(runtime, "made", VolumeSpec(kind=VolumeKind.ANONYMOUS, target="/data"))
    (runtime.layout.anonymous_volumes(box) / "0").mkdir(parents=True)
    (listed,) = await runtime.volumes.list()
    assert (listed.name, listed.used_by, listed.is_anonymous) == (f"{box}.0", ("made",), True)
    await runtime.remove(box)
    assert volume_dir(runtime.layout, f"{box}.0") == Path(listed.path)
    await runtime.volumes.remove(listed.name)
    assert await runtime.volumes.list() == [] and not runtime.layout.anonymous_volumes(box).exists()


async def test_create_of_a_box_with_a_volume_that_is_not_there_names_the_remedy(runtime: Runtime) -> None:
    with pytest.raises(NotFoundError, match="volume 'nosuch' not found") as refused:
        await runtime.create(BoxSpec(volumes=(named("nosuch"),)))
    assert "boxlite volume create nosuch" in (refused.value.hint or "")
