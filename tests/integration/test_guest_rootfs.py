from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.rootfs import exists_in_root, is_directory_in_root, make_directories_in_root, read_in_root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "secret").write_text("outside")
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/inside").write_text("inside")
    (folder / "etc/up").symlink_to("../../secret")
    (folder / "etc/absolute").symlink_to("/etc/inside")
    (folder / "etc/host").symlink_to(str(tmp_path / "secret"))
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_read_in_root_absolute_link_resolves_inside(root: int) -> None:
    assert read_in_root(root, "/etc/absolute") == b"inside"


@pytest.mark.parametrize("path", ["/etc/up", "/etc/host", "/../secret", "/etc/../../secret"])
def test_read_in_root_link_out_finds_nothing(root: int, path: str) -> None:
    assert read_in_root(root, path) == b""


def test_make_directories_in_root_makes_what_is_missing(root: int) -> None:
    make_directories_in_root(root, "/etc/a/b")

    assert is_directory_in_root(root, "/etc/a/b")
    assert not is_directory_in_root(root, "/etc/inside")
    assert exists_in_root(root, "/etc/inside")
