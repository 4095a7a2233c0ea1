"""What is written as ext4, at the edges of the format: e2fsck finds no fault, debugfs reads it back."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from engine.disks.base import ensure_base, ensure_base_from_rootfs
from engine.disks.ext4_records import directory_block_count, directory_blocks
from engine.disks.qcow2 import is_overlay_of, write_empty_overlay
from engine.errors import UnsupportedError
from engine.layout import Layout
from tests.framework.disks import disk_of
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import Entry, build_image, file, folder, hardlink
from tests.framework.stored import store_image

WRITTEN_BYTES = 40 << 20
"""Tables, journal and a little content; behind it is a hole."""
ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, NOBODY = 1, 2, 4, 16, 32, 0xFFFFFFFF


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """As system calls and archives have it (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def archive_of_pieces(path: Path, pieces: int, step: int) -> bytes:
    """What GNU tar makes of a file, written to `path`, that is mostly holes."""
    with path.open("wb") as out:
        for number in range(pieces):
            out.seek(number * step + number % 5000)
            out.write(b"piece %d" % number)
        out.truncate(pieces * step)
    argv = ("tar", "--sparse", "--format=pax", "-C", path.parent, "-c", path.name)
    return subprocess.run(argv, capture_output=True, check=True).stdout


async def test_file_in_thousands_of_pieces_has_all_of_them(layout: Layout, tmp_path: Path) -> None:
    disk = await disk_of(layout, archive_of_pieces(tmp_path / "pieces", 3000, 64 << 10))
    wanted = hashlib.sha256((tmp_path / "pieces").read_bytes()).digest()
    assert hashlib.sha256(disk.read("/pieces")).digest() == wanted
    assert Path(disk.path).stat().st_blocks * 512 < 40 << 20


async def test_directory_with_more_subdirectories_than_links_can_count_is_whole(layout: Layout) -> None:
    count = 66_000
    disk = await disk_of(layout, [folder(f"wide/{number}") for number in range(count)])
    assert len(disk.names("/wide")) == count + 2
    assert disk.stat("/wide").links == 1


async def test_attributes_lie_in_the_inode_or_a_block_of_their_own(layout: Layout) -> None:
    small, large = {"user.a": b"1", "user.empty": b""}, {f"user.{n}": b"v" * n for n in range(1, 70)}
    disk = await disk_of(
        layout,
        [
            file("small", xattrs=small),
            file("large", xattrs=large),
            folder("d", xattrs={"trusted.t": b"\xff\0"}),
        ],
    )
    for path, attributes in {"/small": small, "/large": large, "/d": {"trusted.t": b"\xff\0"}}.items():
        for name, value in attributes.items():
            assert disk.xattr(path, name) == value, (path, name)


async def test_access_list_is_stored_as_the_kernel_keeps_it(layout: Layout) -> None:
    def rules(nobody: int) -> bytes:
        short = [(tag, bits, nobody) for tag, bits in ((ACL_GROUP_OBJ, 4), (ACL_MASK, 4), (ACL_OTHER, 0))]
        return access_list((ACL_USER_OBJ, 6, nobody), (ACL_USER, 4, 1234), *short)

    disk = await disk_of(layout, [file("f", mode=0o640, xattrs={"system.posix_acl_access": rules(NOBODY)})])
    # Of entries without an owner nothing is kept in its place: the kernel makes NOBODY of it again, debugfs 0.
    assert disk.xattr("/f", "system.posix_acl_access") == rules(0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (file("f", xattrs={"user.large": b"v" * 5000}), "more than ext4 can hold"),
        (file("f", xattrs={"user." + "n" * 256: b"1"}), "no file can have the extended attribute"),
        (file("f", xattrs={"system.posix_acl_access": b"rubbish"}), "access list is malformed"),
    ],
    ids=["value too large", "name too long", "access list"],
)
async def test_attribute_that_ext4_cannot_hold_is_refused_by_name(
    layout: Layout, entry: Entry, message: str
) -> None:
    image = await store_image(layout, build_image([[entry]]))
    with pytest.raises(UnsupportedError, match=message) as caught:
        await ensure_base(layout, image, size_gb=1)
    assert "/f" in str(caught.value)
    assert not list(layout.bases_dir.iterdir())


async def test_file_of_more_names_than_ext4_counts_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.disks.ext4_plan.MAX_LINKS", 100)
    names = [file("f", b"1"), *(hardlink(f"names/{number}", "f") for number in range(100))]
    image = await store_image(layout, build_image([names]))
    with pytest.raises(UnsupportedError, match="more than 100 names"):
        await ensure_base(layout, image, size_gb=1)


def written(disk: Path) -> bytes:
    """The digest of what is not a hole at its end."""
    with disk.open("rb") as opened:
        return hashlib.sha256(opened.read(WRITTEN_BYTES)).digest()


async def test_equal_images_give_equal_disks(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        home = Layout(tmp_path / name)
        home.ensure()
        disk = await disk_of(home, [folder("d"), file("d/f", b"x" * 5000, xattrs={"user.a": b"1"})])
        made.append(written(Path(disk.path)))
    assert made[0] == made[1]


async def test_directory_of_the_host_is_copied_with_all_kinds_of_files(
    layout: Layout, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    fill(root)
    disk = Ext4Image((await ensure_base_from_rootfs(layout, root, size_gb=1)).base_path)
    disk.check()
    assert (disk.stat("/").uid, disk.stat("/").mode) == (0, 0o750)
    assert disk.names("/d") == [b".", b"..", b"holes", b"one", b"pipe", b"two"]  # a socket is no file to keep
    assert disk.stat("/d/one").inode == disk.stat("/d/two").inode
    assert (disk.stat("/d/pipe").kind, disk.stat("/l").target) == ("fifo", "../nowhere")
    assert disk.read("/d/holes") == (root / "d" / "holes").read_bytes()
    assert Path(disk.path).stat().st_blocks * 512 < 40 << 20
    assert disk.xattr("/d/one", "user.note") == b"kept"


def fill(root: Path) -> None:
    (root / "d").mkdir(parents=True)
    root.chmod(0o750)
    (root / "d" / "one").write_bytes(b"1")
    (root / "d" / "two").hardlink_to(root / "d" / "one")
    (root / "l").symlink_to("../nowhere")
    os.mkfifo(root / "d" / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "d" / "socket"))
    with (root / "d" / "holes").open("wb") as out:
        out.truncate(80 << 20)
        for place in (1 << 20, 50 << 20):
            out.seek(place)
            out.write(b"middle")
    try:
        os.setxattr(root / "d" / "one", "user.note", b"kept")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")


@pytest.mark.parametrize("lengths", [[], [255] * 15, [255] * 16, [1] * 339, [1] * 340, [3, 4, 5] * 500])
def test_directory_blocks_are_as_many_as_were_counted(lengths: list[int]) -> None:
    names = [b"n" * length for length in lengths]
    content = directory_blocks([(b".", 2, 2), (b"..", 2, 2), *((name, 11, 1) for name in names)])
    assert len(content) == 4096 * directory_block_count(lengths)


@pytest.mark.parametrize("size_gb", [1, 10, 1024, 9000])
def test_empty_overlay_is_one_that_qemu_finds_no_fault_with(tmp_path: Path, size_gb: int) -> None:
    base, overlay = tmp_path / "base.ext4", tmp_path / "empty.qcow2"
    with base.open("wb") as out:
        out.truncate(size_gb << 30)
    write_empty_overlay(overlay, base, size_gb << 30)
    assert is_overlay_of(overlay, base, size_gb << 30)
    checked = subprocess.run(("qemu-img", "check", overlay), capture_output=True, text=True)
    assert (checked.returncode, "No errors" in checked.stdout) == (0, True), checked.stdout + checked.stderr
