"""What a set of layers becomes on disk, read back with debugfs."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from engine.disks.base import ensure_base_from_rootfs
from engine.layout import Layout
from tests.framework.disks import disk_of
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import (
    Entry,
    file,
    folder,
    hardlink,
    layer_tar,
    opaque,
    symlink,
    whiteout,
)

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


async def test_base_of_every_kind_of_entry_has_it_exactly(layout: Layout) -> None:
    long_name = "n" * 255
    disk = await disk_of(
        layout,
        [
            folder("./", mode=0o755, uid=1, gid=2),
            folder("d", mode=0o1777, uid=1000, gid=100),
            file("d/setuid", b"#!", mode=0o4755, uid=0, gid=5),
            file("d/" + long_name, b"long"),
            file(b"d/\xff\xfe", b"raw"),
            file("d/\N{SNOWMAN}", b"cold"),
            symlink("d/short", "../etc/x"),
            symlink("d/long", "/" + "t" * 200),
            hardlink("d/second", "d/setuid"),
            Entry(name="d/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
            Entry(name="d/disk", kind=tarfile.BLKTYPE, device=(259, 70000), mode=0o660),
            Entry(name="d/pipe", kind=tarfile.FIFOTYPE, mode=0o600),
            file(
                "d/ping",
                b"elf",
                mode=0o755,
                xattrs={"security.capability": CAPABILITY, "user.note": b"a\nb=c"},
            ),
            file("d/empty"),
            file("d/old", b"1", mtime=86400.25),
            file("d/big-owner", b"x", uid=2**32 - 2, gid=4_000_000),
            file("deep/" + "/".join(["a" * 60] * 8) + "/leaf", b"leaf"),
        ],
    )
    assert (disk.stat("/").uid, disk.stat("/").gid) == (1, 2)
    assert (disk.stat("/d").kind, disk.stat("/d").mode, disk.stat("/d").uid, disk.stat("/d").gid) == (
        "directory",
        0o1777,
        1000,
        100,
    )
    assert (disk.stat("/d/setuid").mode, disk.stat("/d/setuid").gid) == (0o4755, 5)
    assert disk.stat("/d/setuid").inode == disk.stat("/d/second").inode
    assert disk.stat("/d/second").links == 2
    assert disk.read("/d/" + long_name) == b"long"
    assert b"\xff\xfe" in disk.names("/d")
    assert "\N{SNOWMAN}".encode() in disk.names("/d")
    assert disk.stat("/d/short").target == "../etc/x"
    assert disk.stat("/d/long").target == "/" + "t" * 200
    assert (disk.stat("/d/null").kind, disk.stat("/d/null").device) == ("character", "01:03")
    assert (disk.stat("/d/disk").kind, disk.stat("/d/disk").device) == ("block", "259:70000")
    assert disk.stat("/d/pipe").kind == "fifo"
    assert disk.xattr("/d/ping", "security.capability") == CAPABILITY
    assert disk.xattr("/d/ping", "user.note") == b"a\nb=c"
    assert disk.stat("/d/empty").size == 0
    assert disk.stat("/d/old").mtime_s == 86400
    assert disk.stat("/d/big-owner").uid in (-2, 2**32 - 2)
    assert disk.read("/deep/" + "/".join(["a" * 60] * 8) + "/leaf") == b"leaf"
    assert not disk.exists("/lost+found")


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_base_of_layers_in_any_compression_is_the_same(layout: Layout, compression: str) -> None:
    disk = await disk_of(layout, [file("a", b"1" * 100_000)], [file("b", b"2")], compression=compression)
    assert disk.read("/a") == b"1" * 100_000
    assert disk.read("/b") == b"2"


async def test_base_of_layers_with_whiteouts_hides_what_they_name(layout: Layout) -> None:
    disk = await disk_of(
        layout,
        [
            folder("d"),
            file("d/gone", b"1"),
            file("d/kept", b"2"),
            folder("o"),
            file("o/old", b"3"),
            folder("tree/sub"),
            file("tree/sub/x", b"4"),
        ],
        [
            whiteout("d/gone"),
            file("o/new-before", b"5"),
            opaque("o"),
            file("o/new-after", b"6"),
            whiteout("tree"),
        ],
        [file("tree", b"now a file")],
    )
    assert disk.names("/d") == [b".", b"..", b"kept"]
    assert disk.names("/o") == [b".", b"..", b"new-after", b"new-before"]
    assert disk.read("/tree") == b"now a file"


async def test_base_with_a_hard_link_to_a_lower_layer_keeps_what_was_linked(layout: Layout) -> None:
    disk = await disk_of(
        layout,
        [file("a", b"first"), file("keep", b"k")],
        [hardlink("b", "a"), hardlink("keep2", "keep")],
        [file("a", b"second")],
        [whiteout("keep")],
    )
    assert (disk.read("/a"), disk.read("/b"), disk.read("/keep2")) == (b"second", b"first", b"k")
    assert disk.stat("/b").links == 1


async def test_base_with_entries_behind_a_link_puts_them_where_it_leads(layout: Layout) -> None:
    disk = await disk_of(
        layout,
        [
            folder("usr/lib"),
            symlink("lib", "usr/lib"),
            symlink("up", "../../../usr"),
            symlink("abs", "/usr/lib"),
        ],
        [file("lib/one", b"1"), file("up/lib/two", b"2"), file("abs/three", b"3")],
    )
    assert disk.names("/usr/lib") == [b".", b"..", b"one", b"three", b"two"]
    assert disk.stat("/lib").kind == "symlink"


async def test_base_with_paths_that_climb_stays_inside(layout: Layout, tmp_path: Path) -> None:
    disk = await disk_of(
        layout,
        [
            file("../../../escaped", b"1"),
            file("/absolute", b"2"),
            file("a/../../b", b"3"),
            symlink("l", "/etc"),
            file("l/passwd", b"4"),
        ],
    )
    assert disk.read("/escaped") == b"1"
    assert disk.read("/absolute") == b"2"
    assert disk.read("/b") == b"3"
    assert disk.read("/etc/passwd") == b"4"
    assert not list(tmp_path.rglob("escaped"))


async def test_base_of_duplicates_and_replaced_kinds_has_the_last(layout: Layout) -> None:
    disk = await disk_of(
        layout,
        [
            file("x", b"1"),
            file("x", b"2"),
            folder("was-dir"),
            file("was-dir/f", b"3"),
            file("was-file", b"4"),
            file("implicit/parent/f", b"5"),
        ],
        [file("was-dir", b"6"), folder("was-file"), file("was-file/g", b"7"), file("implicit/parent", b"8")],
    )
    assert disk.read("/x") == b"2"
    assert disk.read("/was-dir") == b"6"
    assert disk.read("/was-file/g") == b"7"
    assert disk.read("/implicit/parent") == b"8"
    assert disk.stat("/implicit").mode == 0o755


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
async def test_base_of_each_tar_format_has_long_paths(layout: Layout, tar_format: int) -> None:
    path = "d/" + "x" * 90 + "/" + "y" * 90
    link = "z" * (99 if tar_format == tarfile.USTAR_FORMAT else 300)
    disk = await disk_of(layout, layer_tar([file(path, b"deep"), symlink("l", link)], tar_format=tar_format))
    assert disk.read("/" + path) == b"deep"
    assert disk.stat("/l").target == link


SPARSE_FORMATS = {
    "old GNU": ["--format=gnu"],
    "pax 0.0": ["--format=posix", "--sparse-version=0.0"],
    "pax 0.1": ["--format=posix", "--sparse-version=0.1"],
    "pax 1.0": ["--format=posix", "--sparse-version=1.0"],
}


def sparse_archive(directory: Path, flags: list[str], pieces: int) -> bytes:
    """An archive of a file of 100 MiB of which only `pieces` places hold anything, as GNU tar makes it."""
    directory.mkdir()
    with (directory / "file").open("wb") as sparse:
        for number in range(pieces):
            sparse.seek((number + 1) * (90 << 20) // pieces)
            sparse.write(b"piece %d" % number)
        sparse.truncate(100 << 20)
    archive = directory / "archive.tar"
    subprocess.run(["tar", "-S", *flags, "-cf", archive, "-C", directory, "file"], check=True)
    return archive.read_bytes()


@pytest.mark.parametrize("pieces", [1, 70])
@pytest.mark.parametrize("flavour", SPARSE_FORMATS)
async def test_base_of_a_sparse_file_keeps_its_holes(
    layout: Layout, tmp_path: Path, flavour: str, pieces: int
) -> None:
    archive = sparse_archive(tmp_path / "sparse", SPARSE_FORMATS[flavour], pieces)
    assert len(archive) < 1 << 20
    disk = await disk_of(layout, archive)
    assert disk.stat("/file").size == 100 << 20
    original = (tmp_path / "sparse" / "file").read_bytes()
    assert hashlib.sha256(disk.read("/file")).digest() == hashlib.sha256(original).digest()
    assert Path(disk.path).stat().st_blocks * 512 < 40 << 20


async def test_base_of_alpine_equals_its_archive_entry_by_entry(
    layout: Layout, alpine_rootfs: Path, tmp_path: Path
) -> None:
    disk = await ensure_base_from_rootfs(layout, alpine_rootfs, size_gb=1)
    image = Ext4Image(disk.base_path)
    image.check()
    tree = image.tree()
    copied = tmp_path / "copied"
    copied.mkdir()
    image.copy_out(copied)
    with tarfile.open(alpine_rootfs) as archive:
        members = {member.name.removeprefix("./").rstrip("/"): member for member in archive.getmembers()}
        members.pop(".", None)
        assert set(tree) == set(members)
        for path, member in members.items():
            found = tree[path]
            expected = "symlink" if member.issym() else "directory" if member.isdir() else "file"
            assert (path, found.kind, found.mode, found.uid, found.gid) == (
                path,
                expected,
                member.mode,
                member.uid,
                member.gid,
            )
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                assert (copied / path).read_bytes() == content.read(), path
                assert (copied / path).stat().st_mtime == member.mtime
            elif member.issym():
                assert str((copied / path).readlink()) == member.linkname


async def test_layers_of_many_files_and_many_layers_fit(layout: Layout) -> None:
    many = [file(f"many/{number % 100}/{number}", b"") for number in range(70_000)]
    layers: list[list[Entry]] = [many, *([[file(f"layer-{number}", b"x")] for number in range(126)])]
    disk = await disk_of(layout, *layers)
    assert len(disk.names("/many/7")) == 702
    assert disk.exists("/layer-125")
