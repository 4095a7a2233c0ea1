from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from guest.tarstream import ExtractOptions, extract_tar
from guest.wire.tarpack import TreePacker

KEEP = ExtractOptions(owner=(os.getuid(), os.getgid()))


def _archive(*entries: tuple[str, bytes | None]) -> io.BytesIO:
    """A tar of files, and of directories where the content is None."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if content is None else 0o640
            member.mtime = 1_000_000_000
            if content is None:
                member.type = tarfile.DIRTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    buffer.seek(0)
    return buffer


def test_extract_tar_keeps_modes_and_times(tmp_path: Path) -> None:
    source = _archive(("d", None), ("d/f", b"content"))

    assert extract_tar(source, os.fsencode(tmp_path), KEEP) == (2, 7)

    assert (tmp_path / "d/f").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "d/f").stat().st_mode) == 0o640
    assert (tmp_path / "d").stat().st_mtime == 1_000_000_000


def test_extract_tar_without_overwrite_leaves_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")

    with pytest.raises(FileExistsError):
        extract_tar(
            _archive(("f", b"new")),
            os.fsencode(tmp_path),
            ExtractOptions(overwrite=False, owner=KEEP.owner),
        )

    assert (tmp_path / "f").read_bytes() == b"old"


def test_extract_tar_overwrites_a_link_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "f").symlink_to("target")

    extract_tar(_archive(("f", b"new")), os.fsencode(tmp_path), KEEP)

    assert not (tmp_path / "f").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["../f", "d/../../f"])
def test_extract_tar_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="leads out"):
        extract_tar(_archive((name, b"x")), os.fsencode(tmp_path), KEEP)


@pytest.mark.parametrize("there_is_directory", [True, False])
def test_extract_tar_no_dir_overwrite_refuses_to_change_the_kind(
    tmp_path: Path, there_is_directory: bool
) -> None:
    target = tmp_path / "x"
    if there_is_directory:
        target.mkdir()
    else:
        target.write_bytes(b"old")
    content = b"file" if there_is_directory else None
    options = ExtractOptions(no_dir_overwrite=True, owner=KEEP.owner)

    with pytest.raises(OSError, match="cannot overwrite"):
        extract_tar(_archive(("x", content)), os.fsencode(tmp_path), options)

    assert target.is_dir() == there_is_directory


def test_extract_tar_garbage_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a tar stream"):
        extract_tar(io.BytesIO(b"garbage" * 500), os.fsencode(tmp_path), KEEP)


def test_write_tar_extract_tar_round_trip_keeps_the_tree(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/file").write_bytes(b"x" * 100_000)
    (source / "link").symlink_to("sub/file")
    os.link(source / "sub/file", source / "hard")
    (source / os.fsdecode(b"not-\xff-utf8\n")).write_bytes(b"odd name")
    os.mkfifo(source / "fifo")
    stream = io.BytesIO()

    packer = TreePacker(stream)
    packer.pack(os.fsencode(source), b"copy")
    packer.finish()
    stream.seek(0)
    extract_tar(stream, os.fsencode(tmp_path), KEEP)

    copy = tmp_path / "copy"
    assert (copy / "sub/file").read_bytes() == b"x" * 100_000
    assert (copy / "link").readlink() == Path("sub/file")
    assert (copy / "hard").stat().st_ino == (copy / "sub/file").stat().st_ino
    assert (copy / os.fsdecode(b"not-\xff-utf8\n")).read_bytes() == b"odd name"
    assert stat.S_ISFIFO((copy / "fifo").stat().st_mode)
