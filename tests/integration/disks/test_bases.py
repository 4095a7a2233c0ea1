"""Bases: made once, whole or not at all, and gone when they are let go."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from engine.disks.base import base_keys, ensure_base, ensure_base_from_rootfs, remove_abandoned, remove_base
from engine.disks.qcow2 import create_overlay
from engine.errors import ImageError, NotFoundError, ResourceExhaustedError
from engine.fsutil import locked
from engine.layout import Layout
from engine.model import RuntimeConfig
from engine.progress import Progress
from tests.framework.disks import disk_of
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import build_image, file
from tests.framework.stored import store_image


async def test_base_is_made_once_read_only_and_backs_its_overlay(layout: Layout, tmp_path: Path) -> None:
    image = await store_image(layout, build_image([[file("a", b"1")]]))
    first = await ensure_base(layout, image, size_gb=1)
    made = os.stat(first.base_path)
    assert await ensure_base(layout, image, size_gb=1) == first
    assert os.stat(first.base_path).st_mtime_ns == made.st_mtime_ns
    assert stat.S_IMODE(made.st_mode) == 0o400
    assert first.size_bytes == made.st_size == 1 << 30
    await create_overlay(first, tmp_path / "disk.qcow2")
    assert (tmp_path / "disk.qcow2").stat().st_size < 1 << 20
    assert stat.S_IMODE((tmp_path / "disk.qcow2").stat().st_mode) == 0o600


async def test_base_that_is_damaged_is_made_anew(layout: Layout) -> None:
    image = await store_image(layout, build_image([[file("a", b"1")]]))
    disk = await ensure_base(layout, image, size_gb=1)
    os.chmod(disk.base_path, 0o600)
    Path(disk.base_path).write_bytes(b"")
    again = await ensure_base(layout, image, size_gb=1)
    assert Ext4Image(again.base_path).read("/a") == b"1"


async def test_base_of_content_larger_than_asked_is_larger(layout: Layout, tmp_path: Path) -> None:
    """The archive is mostly a hole, but of an ordinary file: all of it is content."""
    member = tarfile.TarInfo("large")
    member.size = 1100 << 20
    with (tmp_path / "large.tar").open("wb") as archive:
        archive.write(member.tobuf())
        archive.truncate(tarfile.BLOCKSIZE + member.size + 2 * tarfile.BLOCKSIZE)
    disk = Ext4Image((await ensure_base_from_rootfs(layout, tmp_path / "large.tar", size_gb=1)).base_path)
    disk.check()
    assert disk.stat("/large").size == member.size
    assert Path(disk.path).stat().st_size == 2 << 30
    assert Path(disk.path).stat().st_blocks * 512 > member.size


async def test_base_from_a_directory_copies_it(layout: Layout, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "sh").write_bytes(b"#!")
    (root / "link").symlink_to("/etc/shadow")
    first = await ensure_base_from_rootfs(layout, root, size_gb=1)
    (root / "bin" / "sh").write_bytes(b"changed")
    second = await ensure_base_from_rootfs(layout, root, size_gb=1)
    assert Ext4Image(first.base_path).read("/bin/sh") == b"#!"
    assert Ext4Image(second.base_path).read("/bin/sh") == b"changed"
    assert Ext4Image(first.base_path).stat("/link").target == "/etc/shadow"


async def test_base_from_a_path_that_is_not_there_is_refused(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="neither a directory nor a tar archive"):
        await ensure_base_from_rootfs(layout, tmp_path / "nothing")


async def test_layer_over_the_cap_is_refused_and_leaves_nothing(layout: Layout) -> None:
    image = await store_image(layout, build_image([[file("zeros", bytes(8 << 20))]]))
    with pytest.raises(ResourceExhaustedError, match="larger than 1048576 bytes when decompressed"):
        await ensure_base(
            layout, image, size_gb=1, config=RuntimeConfig(max_layer_decompressed_bytes=1 << 20)
        )
    assert not list(layout.bases_dir.iterdir())
    assert not [path for path in layout.tmp_dir.iterdir() if path.is_dir()]


async def test_layer_that_is_not_what_its_config_says_is_refused(layout: Layout) -> None:
    wrong = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}
    image = await store_image(layout, build_image([[file("a", b"1")]], config_changes=wrong))
    with pytest.raises(ImageError, match="but its image says sha256:000"):
        await ensure_base(layout, image, size_gb=1)
    assert not list(layout.bases_dir.iterdir())


async def test_leftovers_of_a_killed_build_are_removed_by_the_next_one(layout: Layout) -> None:
    left = layout.tmp_dir / "base-of-somebody-1"
    left.mkdir()
    (left / "half").write_bytes(b"x" * 9000)
    busy = layout.tmp_dir / "base-of-a-living-one-1"
    busy.mkdir()
    with locked(layout.locks_dir / "base-of-a-living-one-1.lock"):
        await disk_of(layout, [file("a", b"1")])
        assert not left.exists()
        assert busy.exists()
    assert remove_abandoned(layout) > 0
    assert not busy.exists()


async def test_removed_base_is_gone_and_made_again_when_asked(layout: Layout) -> None:
    image = await store_image(layout, build_image([[file("a", b"1")]]))
    disk = await ensure_base(layout, image, size_gb=1)
    (key,) = base_keys(layout)
    assert remove_base(layout, key) > 0
    assert (base_keys(layout), Path(disk.base_path).exists()) == ([], False)
    assert remove_base(layout, key) == 0
    assert list(layout.locks_dir.glob("base-*")) == []
    assert await ensure_base(layout, image, size_gb=1) == disk


async def test_bases_asked_for_at_once_are_made_once(layout: Layout) -> None:
    image = await store_image(layout, build_image([[file("a", os.urandom(1 << 20))]]))
    seen: list[Progress] = []
    disks = await asyncio.gather(
        *(ensure_base(layout, image, size_gb=1, progress=seen.append) for _ in range(6))
    )
    assert len(set(disks)) == 1
    assert len([step for step in seen if step.stage == "base"]) == 1


async def test_full_disk_is_said_and_leaves_nothing(layout: Layout, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or not mounted(small):
        pytest.skip("making a small file system to fill needs root and mounts")
    try:
        home = Layout(small / "home")
        home.ensure()
        image = await store_image(home, build_image([[file("a", os.urandom(14 << 20))]], compression="none"))
        with pytest.raises(ResourceExhaustedError, match=r"needs \d+ MiB, but \d+ MiB are free"):
            await ensure_base(home, image, size_gb=1)
        assert base_keys(home) == []
        assert not list(home.tmp_dir.iterdir())
        packed = await store_image(
            home, build_image([[file("zeros", bytes(60 << 20) + b"x")]]), "localhost/b"
        )
        with pytest.raises(ResourceExhaustedError):
            await ensure_base(home, packed, size_gb=1)
        assert base_keys(home) == []
        assert not list(home.tmp_dir.iterdir())
    finally:
        unmount(small)


def unmount(directory: Path) -> None:
    subprocess.run(("umount", directory), check=True)


def mounted(directory: Path) -> bool:
    return subprocess.run(("mount", "-t", "tmpfs", "-o", "size=24m", "none", directory)).returncode == 0
