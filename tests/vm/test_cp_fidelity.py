"""What `cp` keeps of a file besides its bytes, into a box and back out: holes, names, times, attributes, owners."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import struct
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.runtime import Runtime
from engine.runtime.copy_rules import CopyOptions
from tests.framework.cli import Boxlite

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOX = "faithful"
MIB = 1024 * 1024
EVERYTHING = CopyOptions(keep_owner=True)
MTIME_NS = 1_234_567_890_123_456_789
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""CAP_NET_BIND_SERVICE, effective (linux/capability.h, struct vfs_cap_data)."""
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, bits, who)
    for tag, bits, who in (
        (1, 6, 2**32 - 1),
        (2, 4, 1234),
        (4, 4, 2**32 - 1),
        (16, 4, 2**32 - 1),
        (32, 0, 2**32 - 1),
    )
)
"""Owner rw, user 1234 r, group r, mask r, others nothing (linux/posix_acl_xattr.h)."""
RIGHTS = {"security.capability": CAPABILITY, "system.posix_acl_access": ACL}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(boxlite_of_module: Boxlite, alpine: str) -> AsyncIterator[Runtime]:
    boxlite_of_module("run", "-d", "--name", BOX, alpine, "sleep", "900", check=True)
    async with Runtime(boxlite_of_module.home) as runtime:
        yield runtime


async def there_and_back(runtime: Runtime, source: Path, options: CopyOptions | None = None) -> Path:
    """Copy a file or directory into the box and out of it again."""
    options = options or CopyOptions()
    back = source.parent / "back"
    await runtime.copy_in(BOX, str(source), "/", options)
    await runtime.copy_out(BOX, f"/{source.name}", f"{back}/", options)
    return back / source.name


async def headers(runtime: Runtime, path: str) -> dict[str, tarfile.TarInfo]:
    """What the box says of a path and all below it."""
    sink = io.BytesIO()
    await runtime.copy_tar_out(BOX, path, sink, CopyOptions())
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        return {member.name: member for member in archive}


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


@pytest.mark.parametrize(
    "regions",
    [[(8 * MIB, 5000)], [(0, 4096), (20 * MIB, 4096), (64 * MIB - 4096, 4096)], []],
    ids=["middle", "ends", "nothing but a hole"],
)
async def test_holes_are_kept(runtime: Runtime, tmp_path: Path, regions: list[tuple[int, int]]) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        file.truncate(64 * MIB)
        for offset, size in regions:
            file.seek(offset)
            file.write(os.urandom(size))
    back = await there_and_back(runtime, source)
    assert back.read_bytes() == source.read_bytes()
    assert back.stat().st_blocks * 512 < MIB
    member = (await headers(runtime, "/sparse"))["sparse"]
    assert member.size == 64 * MIB
    stored: list[tuple[int, int]] = getattr(member, "sparse", None) or []
    assert 0 <= sum(length for _, length in stored) < MIB


async def test_a_file_with_several_names_stays_one(runtime: Runtime, tmp_path: Path) -> None:
    source = tmp_path / "names"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_text("shared")
    os.link(source / "a", source / "sub" / "b")
    (source / "l").symlink_to("a")
    os.link(source / "l", source / "sub" / "m", follow_symlinks=False)
    back = await there_and_back(runtime, source)
    assert (back / "a").stat().st_ino == (back / "sub" / "b").stat().st_ino
    assert (back / "l").lstat().st_ino == (back / "sub" / "m").lstat().st_ino
    found = await headers(runtime, "/names")
    assert found["names/sub/b"].islnk() and found["names/sub/b"].linkname == "names/a"


async def test_times_are_kept_to_the_nanosecond_and_modes_to_the_bit(
    runtime: Runtime, tmp_path: Path
) -> None:
    source = tmp_path / "times"
    (source / "dir").mkdir(parents=True)
    (source / "file").write_text("x")
    (source / "old").write_text("before 1970")
    (source / "link").symlink_to("file")
    (source / "file").chmod(0o604)
    (source / "dir").chmod(0o1750)
    for name in ("file", "link", "dir"):
        os.utime(source / name, ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)
    os.utime(source / "old", ns=(-1_500_000_000, -1_500_000_000))
    back = await there_and_back(runtime, source)
    for name in ("file", "link", "dir"):
        assert (back / name).lstat().st_mtime_ns == MTIME_NS, name
    assert (back / "old").stat().st_mtime_ns == -1_500_000_000
    assert stat.S_IMODE((back / "file").stat().st_mode) == 0o604
    assert (await headers(runtime, "/times"))["times/dir"].mode == 0o1750


async def test_attributes_of_users_are_kept_those_that_give_rights_only_with_owners(
    runtime: Runtime, tmp_path: Path
) -> None:
    source = tmp_path / "marked"
    source.mkdir()
    (source / "file").write_text("x")
    mine = {"user.note": b"bytes \0\xff\n=", "user.empty": b""}
    for name, value in mine.items():
        os.setxattr(source / "file", name, value)
    os.setxattr(source, "user.dir", b"d")
    plain = await there_and_back(runtime, source)
    assert attributes(plain / "file") == mine and attributes(plain) == {"user.dir": b"d"}
    if os.geteuid() != 0:
        pytest.skip("only root sets capabilities")
    for name, value in RIGHTS.items():
        os.setxattr(source / "file", name, value)
    await runtime.copy_in(BOX, str(source), "/without")
    inside = (await headers(runtime, "/without"))["without/marked/file"].pax_headers
    assert {name for name in inside if "xattr" in name} == {f"SCHILY.xattr.{name}" for name in mine}
    kept = await there_and_back(runtime, source, EVERYTHING)
    assert attributes(kept / "file") == mine | RIGHTS
    await runtime.copy_out(BOX, "/marked/file", str(tmp_path / "out"))
    assert attributes(tmp_path / "out") == mine


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_owners_and_set_id_bits_are_kept_when_asked_for(runtime: Runtime, tmp_path: Path) -> None:
    source = tmp_path / "owned"
    source.mkdir()
    (source / "file").write_text("x")
    (source / "link").symlink_to("file")
    for path in (source, source / "file", source / "link"):
        os.chown(path, 1234, 567, follow_symlinks=False)
    (source / "file").chmod(0o6755)
    kept = await there_and_back(runtime, source, EVERYTHING)
    inside = await headers(runtime, "/owned")
    assert {(member.uid, member.gid) for member in inside.values()} == {(1234, 567)}
    for path in (kept, kept / "file", kept / "link"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (1234, 567)
    assert stat.S_IMODE((kept / "file").stat().st_mode) == 0o6755
    await runtime.copy_in(BOX, str(source), "/given")
    assert {(member.uid, member.gid) for member in (await headers(runtime, "/given")).values()} == {(0, 0)}


async def test_names_of_any_bytes_and_any_length_are_kept(runtime: Runtime, tmp_path: Path) -> None:
    source = tmp_path / "odd"
    deep = source / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    names = [
        "plain",
        "täg",
        os.fsdecode(b"\xff\xfe bytes"),
        "new\nline",
        " lead",
        "tail ",
        "-rf",
        "x" * 255,
        "a\\b:c*",
    ]
    for name in names:
        (deep / name).write_text("x")
    (deep / "link").symlink_to("t" * 300)
    back = await there_and_back(runtime, source)
    copied = back / deep.relative_to(source)
    assert sorted(os.listdir(copied)) == sorted([*names, "link"])
    assert (copied / "link").readlink() == Path("t" * 300)


async def test_file_that_vanishes_while_its_directory_is_copied_is_no_failure(
    runtime: Runtime, tmp_path: Path
) -> None:
    source = tmp_path / "busy"
    source.mkdir()
    (source / "kept").write_text("kept")
    stopping = asyncio.Event()

    def churn() -> None:
        number = 0
        while not stopping.is_set():
            path = source / f"gone{number % 50}"
            path.write_text("x")
            path.unlink()
            number += 1

    churning = asyncio.get_running_loop().run_in_executor(None, churn)
    try:
        for _ in range(5):
            await runtime.copy_in(BOX, str(source), "/busy")
    finally:
        stopping.set()
        await churning
    assert "busy/busy/kept" in await headers(runtime, "/busy")
