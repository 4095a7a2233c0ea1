"""The grammar of volumes, mounts and tmpfs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxlite_cli.volumes import is_host_path, parse_mount, parse_tmpfs, parse_volume, split_volume
from engine.errors import InvalidArgumentError
from engine.model import VolumeKind

names = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,20}", fullmatch=True)
segments = st.from_regex(r"[a-zA-Z0-9_. -]{1,8}", fullmatch=True)
box_paths = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
modes = st.sampled_from(["", ":ro", ":rw", ":ro,z", ":z,rw"])
drives = st.tuples(st.sampled_from("abcXYZ"), st.sampled_from("\\/"), segments).map(
    lambda d: f"{d[0]}:{d[1]}{d[2]}"
)
host_paths = st.one_of(
    box_paths,
    box_paths.map(lambda path: "." + path),
    box_paths.map(lambda path: ".." + path),
    box_paths.map(lambda path: "~" + path),
    drives,
    segments.map(lambda share: f"\\\\server\\{share}"),
)


@given(st.one_of(host_paths, names), box_paths, modes)
def test_volume_with_a_source_is_split_at_the_right_colons(source: str, target: str, mode: str) -> None:
    found = split_volume(f"{source}:{target}{mode}")
    assert found == (source, target, tuple(mode.removeprefix(":").split(",")) if mode else ())


@given(box_paths, modes)
def test_volume_without_a_source_is_anonymous(target: str, mode: str) -> None:
    volume = parse_volume(f"{target}{mode}")
    assert (volume.kind, volume.target, volume.source) == (VolumeKind.ANONYMOUS, target, None)
    assert volume.read_only == ("ro" in mode)


@given(host_paths)
def test_source_that_looks_like_a_path_is_the_hosts(source: str) -> None:
    assert is_host_path(source)


@given(names, box_paths, modes)
def test_source_that_looks_like_a_name_is_a_volume(name: str, target: str, mode: str) -> None:
    volume = parse_volume(f"{name}:{target}{mode}")
    assert (volume.kind, volume.source, volume.target) == (VolumeKind.NAMED, name, target)


@given(st.text(max_size=30))
def test_volume_of_any_text_has_an_absolute_target_or_is_an_error(text: str) -> None:
    try:
        assert split_volume(text)[1].startswith("/")
    except InvalidArgumentError:
        return


def test_volume_relative_host_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    volume = parse_volume("./src:/src:ro")
    assert (volume.kind, volume.source, volume.read_only) == (VolumeKind.BIND, str(tmp_path / "src"), True)


def test_volume_host_path_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^volume host path /nope/at/all"):
        parse_volume("/nope/at/all:/x")
    with pytest.raises(InvalidArgumentError, match=r"^volume host path C:\\data"):
        parse_volume("C:\\data:/x")


@pytest.mark.parametrize("text", ["", "data", "data:", ":/x", "/a:b", "a:/x", "x y:/z", "C:\\data", "C:/data:ro", "/a:/b:ro:x", "vol:rel"])  # fmt: skip
def test_volume_wrong_is_an_error(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="volume"):
        parse_volume(text)


def test_mount_forms(tmp_path: Path) -> None:
    bind = parse_mount(f"type=bind,src={tmp_path},dst=/x,readonly")
    assert (bind.kind, bind.source, bind.target, bind.read_only) == (
        VolumeKind.BIND,
        str(tmp_path),
        "/x",
        True,
    )
    named = parse_mount("source=data,target=/x,ro=false")
    assert (named.kind, named.source, named.read_only) == (VolumeKind.NAMED, "data", False)
    assert parse_mount("type=volume,destination=/x").kind is VolumeKind.ANONYMOUS
    tmpfs = parse_mount("type=tmpfs,target=/x,tmpfs-size=64m,tmpfs-mode=1777")
    assert (tmpfs.tmpfs_size_bytes, tmpfs.tmpfs_mode) == (64 * 1024**2, 0o1777)


@pytest.mark.parametrize(
    "text",
    ["type=bind,target=/x", "type=volume", "type=what,target=/x", "target=/x,nope=1", "type=tmpfs,source=a,target=/x", "type=volume,target=x"],
)  # fmt: skip
def test_mount_wrong_is_an_error(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_mount(text)


def test_tmpfs_forms() -> None:
    tmpfs = parse_tmpfs("/run:size=1g,mode=755,noexec,ro")
    assert (tmpfs.tmpfs_size_bytes, tmpfs.tmpfs_mode, tmpfs.read_only) == (1024**3, 0o755, True)
    assert parse_tmpfs("/run").tmpfs_size_bytes is None
    executes = [
        parse_tmpfs(text).tmpfs_exec for text in ("/run", "/run:exec", "/run:exec,noexec", "/run:rw,exec")
    ]
    assert executes == [False, True, False, True]
    for wrong in ("run", "/run:size", "/run:mode=9", "/run:what", "/run:suid", "/run:dev"):
        with pytest.raises(InvalidArgumentError):
            parse_tmpfs(wrong)
