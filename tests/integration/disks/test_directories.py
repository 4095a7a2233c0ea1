"""A directory of the host that somebody changes while it is copied leads to nothing outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.disks.base import base_keys, ensure_base_from_rootfs
from engine.disks.directory import DirectorySource
from engine.errors import BoxliteError, StorageError
from engine.layout import Layout
from tests.framework.ext4 import Ext4Image

SECRET = b"of the host"
ENOUGH_S = 2.0
SWAP = """
import os
while True:
    os.rename("root/inner", "away")
    os.rename("link", "root/inner")
    os.rename("root/inner", "link")
    os.rename("away", "root/inner")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`inner/f` is copied; `outside/f` beside it must not be."""
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "f").write_bytes(SECRET)
    (tmp_path / "outside" / "deep" / "g").write_bytes(SECRET)
    directory = tmp_path / "root"
    (directory / "inner" / "deep").mkdir(parents=True)
    (directory / "inner" / "f").write_bytes(b"own")
    (directory / "inner" / "deep" / "g").write_bytes(b"own")
    return directory


def swap_for_link(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.symlink_to("../outside")


def test_directory_swapped_for_a_link_before_its_files_are_read_is_refused(root: Path) -> None:
    with (
        contextlib.closing(DirectorySource(root)) as source,
        contextlib.closing(DirectorySource(root)) as later,
    ):
        found = source.scan().find(b"inner/f")
        assert found is not None
        swap_for_link(root / "inner")
        with pytest.raises(
            StorageError, match=r"root/inner was changed while it was copied: Not a dir"
        ) as caught:
            later.descriptor(found.inode.entry)
        assert (
            os.pread(source.descriptor(found.inode.entry), 99, 0) == b"own"
        )  # it has the directory itself open
    assert "nobody writes" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["link", "pipe", "nothing"])
def test_file_that_is_none_any_more_is_refused(root: Path, kind: str) -> None:
    file = root / "inner" / "f"
    with contextlib.closing(DirectorySource(root)) as source:
        found = source.scan().find(b"inner/f")
        assert found is not None
        file.unlink()
        if kind == "link":
            file.symlink_to("../../outside/f")
        elif kind == "pipe":
            os.mkfifo(file)
        with pytest.raises(StorageError, match=r"root/inner/f was changed"):
            source.descriptor(found.inode.entry)


def test_directory_swapped_again_and_again_never_shows_what_is_outside(root: Path) -> None:
    """A copy ends well or is refused; none has the secret."""
    (root.parent / "link").symlink_to(root.parent / "outside")
    swapper = subprocess.Popen((sys.executable, "-c", SWAP), cwd=root.parent)
    ends: set[str] = set()
    deadline = time.monotonic() + ENOUGH_S
    try:
        while time.monotonic() < deadline:
            with contextlib.closing(DirectorySource(root)) as source:
                try:
                    tree = source.scan()
                    for path, node in tree.walk():
                        if node.inode.entry.stored_bytes:
                            assert os.pread(source.descriptor(node.inode.entry), 99, 0) == b"own", path
                    ends.add("copied")
                except BoxliteError:
                    ends.add("refused")
    finally:
        swapper.kill()
        swapper.wait()
    assert "copied" in ends


async def test_directory_deeper_than_descriptors_are_kept_is_copied(layout: Layout, root: Path) -> None:
    place = root
    for number in range(300):
        place = place / f"d{number % 10}"
        place.mkdir()
        (place / "f").write_bytes(b"%d" % number)
    (root / "last").write_bytes(b"last")
    disk = Ext4Image((await ensure_base_from_rootfs(layout, root, size_gb=1)).base_path)
    path = "/".join(f"d{number % 10}" for number in range(300))
    assert (disk.read(f"/{path}/f"), disk.read("/d0/f"), disk.read("/last")) == (b"299", b"0", b"last")


async def test_directory_with_a_file_that_may_not_be_read_is_refused_with_its_name(
    layout: Layout, root: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (root / "inner" / "f").chmod(0)
    with pytest.raises(BoxliteError, match=r"copying .*root/inner/f: Permission denied"):
        await ensure_base_from_rootfs(layout, root, size_gb=1)
    assert base_keys(layout) == []
