"""Streams no honest box would send: nothing outside the destination is read, made or changed."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import AlreadyExistsError, BoxliteError, DeniedError, PortalError, UnsupportedError
from engine.runtime.unpacking import Unpacked, Unpacker


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    return made


def stream(*entries: tarfile.TarInfo, content: bytes = b"planted") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in entries:
            if member.isreg():
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return out.getvalue()


def unpack(target: Path, data: bytes, *, overwrite: bool = True) -> Unpacked:
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpacker = Unpacker(
            fd, wire_name="box", name="out", overwrite=overwrite, keep_owner=False, on_bytes=lambda _: None
        )
        return unpacker.unpack(io.BytesIO(data))
    finally:
        os.close(fd)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    (tmp_path / "secret").write_text("untouched")
    return made


DIRECTORY = entry("box", tarfile.DIRTYPE, mode=0o755)


@pytest.mark.parametrize(
    "entries",
    [
        (entry("../secret"),),
        (entry("box/../../secret"),),
        (DIRECTORY, entry("box/..", tarfile.DIRTYPE)),
        (entry("other"),),
        (entry(".bashrc"),),
        (DIRECTORY, entry("box/l", tarfile.SYMTYPE, "../.."), entry("box/l/secret")),
        (DIRECTORY, entry("box/l", tarfile.SYMTYPE, "/"), entry("box/l/etc/planted")),
        (
            DIRECTORY,
            entry("box/l", tarfile.SYMTYPE, "../.."),
            entry("box/h", tarfile.LNKTYPE, "box/l/secret"),
        ),
        (DIRECTORY, entry("box/h", tarfile.LNKTYPE, "../secret")),
        (DIRECTORY, entry("box/h", tarfile.LNKTYPE, "/etc/passwd")),
    ],
    ids=lambda entries: " ".join(member.name for member in entries),
)
def test_entry_that_leads_out_is_refused(target: Path, entries: tuple[tarfile.TarInfo, ...]) -> None:
    with pytest.raises(DeniedError):
        unpack(target, stream(*entries))
    assert (target.parent / "secret").read_text() == "untouched"
    assert sorted(path.name for path in target.parent.iterdir()) == ["secret", "target"]
    assert not (target / ".bashrc").exists()


def test_absolute_name_is_refused(target: Path) -> None:
    with pytest.raises(DeniedError):
        unpack(target, stream(entry(str(target.parent / "secret"))))
    assert (target.parent / "secret").read_text() == "untouched"


def test_link_in_the_way_is_replaced_not_followed(target: Path) -> None:
    (target / "out").symlink_to("../secret")
    unpack(target, stream(entry("box")))
    assert (target / "out").read_text() == "planted" and not (target / "out").is_symlink()
    assert (target.parent / "secret").read_text() == "untouched"


def test_link_on_the_host_in_place_of_a_directory_is_not_followed(target: Path) -> None:
    (target.parent / "elsewhere").mkdir()
    (target / "out").mkdir()
    (target / "out" / "sub").symlink_to("../../elsewhere")
    with pytest.raises(DeniedError, match="symbolic link on the host"):
        unpack(target, stream(DIRECTORY, entry("box/sub/planted")))
    with pytest.raises(BoxliteError):
        unpack(target, stream(DIRECTORY, entry("box/sub", tarfile.DIRTYPE)))
    assert list((target.parent / "elsewhere").iterdir()) == []


def test_link_from_a_box_is_kept_as_it_is(target: Path) -> None:
    unpack(target, stream(entry("box", tarfile.SYMTYPE, "/etc/passwd")))
    assert (target / "out").readlink() == Path("/etc/passwd")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_device_is_refused(target: Path, kind: bytes) -> None:
    with pytest.raises(UnsupportedError, match="device"):
        unpack(target, stream(DIRECTORY, entry("box/null", kind)))
    assert list((target / "out").iterdir()) == []


def test_set_id_bits_do_not_reach_the_host(target: Path) -> None:
    unpack(target, stream(entry("box", mode=0o6755)))
    assert (target / "out").stat().st_mode & 0o7777 == 0o755


def test_existing_file_is_kept_when_it_must_be(target: Path) -> None:
    (target / "out").write_text("original")
    with pytest.raises(AlreadyExistsError):
        unpack(target, stream(entry("box")), overwrite=False)
    assert (target / "out").read_text() == "original"


def test_stream_that_ends_early_leaves_the_original(target: Path) -> None:
    (target / "out").write_text("original")
    with pytest.raises(PortalError):
        unpack(target, stream(entry("box"), content=b"x" * 100_000)[:50_000])
    assert [path.name for path in target.iterdir()] == ["out"]
    assert (target / "out").read_text() == "original"


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"\xff" * 2048, lambda data: b"GARBAGE" * 300, lambda data: data[:100]],
    ids=["ones", "text", "short"],
)
def test_what_is_not_a_tar_stream_is_an_error_of_the_box(
    target: Path, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(PortalError):
        unpack(target, damage(stream(entry("box"))))


def test_huge_extended_header_is_refused_unread(target: Path) -> None:
    header = entry("box", tarfile.XHDTYPE)
    header.size = 1 << 40
    with pytest.raises(PortalError, match="header of 1099511627776 bytes"):
        unpack(target, header.tobuf(tarfile.GNU_FORMAT) + b"0" * 4096)


def test_directories_that_may_not_be_written_are_filled_first(target: Path) -> None:
    members = (
        entry("box", tarfile.DIRTYPE, mode=0o555),
        entry("box/f"),
        entry("box/h", tarfile.LNKTYPE, "box/f"),
    )
    assert unpack(target, stream(*members)) == Unpacked(entries=3, size_bytes=7)
    assert (target / "out").stat().st_mode & 0o777 == 0o555
    assert (target / "out" / "f").stat().st_nlink == 2
