from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from guest.copyup import fill_volume


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root with files at /srv/data, and a link to it at /data."""
    root = tmp_path / "root"
    (root / "srv" / "data" / "sub").mkdir(parents=True)
    (root / "srv" / "data" / "f").write_text("f")
    (root / "srv" / "data" / "sub" / "large").write_bytes(os.urandom(300_000))
    (root / "srv" / "data" / "link").symlink_to("/f")
    (root / "data").symlink_to("/srv/data")
    return root


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    made.mkdir(mode=0o777)
    made.chmod(0o777)
    return made


@pytest.mark.parametrize("target", ["/srv/data", "/data/"])
def test_fill_volume_copies_what_the_image_has(image: Path, volume: Path, target: str) -> None:
    assert fill_volume(image, target, str(volume))
    assert sorted(path.name for path in volume.iterdir()) == ["f", "link", "sub"]
    assert (volume / "sub" / "large").read_bytes() == (image / "srv/data/sub/large").read_bytes()
    assert (volume / "link").readlink() == Path("/f")
    assert stat.S_IMODE(volume.stat().st_mode) == 0o777


@pytest.mark.parametrize("target", ["/none", "/srv/data/f", "/../../etc/passwd"])
def test_fill_volume_without_a_directory_in_the_image_leaves_it_empty(
    image: Path, volume: Path, target: str
) -> None:
    assert not fill_volume(image, target, str(volume))
    assert list(volume.iterdir()) == []


def test_fill_volume_that_holds_something_leaves_it_alone(image: Path, volume: Path) -> None:
    (volume / "mine").write_text("mine")
    assert not fill_volume(image, "/srv/data", str(volume))
    assert [path.name for path in volume.iterdir()] == ["mine"]


def test_fill_volume_that_fails_leaves_it_empty(image: Path, tmp_path: Path) -> None:
    deep = "/".join(["d" * 250] * 14)
    (image / "srv" / "data" / "z" / deep).mkdir(parents=True)
    volume = tmp_path / ("u" * 250) / ("v" * 250) / ("w" * 250)
    volume.mkdir(parents=True)
    with pytest.raises(OSError, match="File name too long"):
        fill_volume(image, "/srv/data", str(volume))
    assert list(volume.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_fill_volume_gives_everybody_the_rights_of_owners_that_are_lost(image: Path, volume: Path) -> None:
    (image / "srv" / "data" / "f").chmod(0o600)
    (image / "srv" / "data" / "sub").chmod(0o750)
    for name in ("f", "sub"):
        os.chown(image / "srv" / "data" / name, 70, 70)
    fill_volume(image, "/srv/data", str(volume))
    assert stat.S_IMODE((volume / "f").stat().st_mode) == 0o666
    assert stat.S_IMODE((volume / "sub").stat().st_mode) == 0o777
    assert stat.S_IMODE((volume / "sub" / "large").stat().st_mode) == stat.S_IMODE(
        (image / "srv/data/sub/large").stat().st_mode
    )
