"""Make an ext4 file system from an archive or a directory, with mke2fs and without being root."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BoxliteError, ImageError, ResourceExhaustedError, UnsupportedError
from engine.process import SAFE_PATH, Command, Completed

if TYPE_CHECKING:
    from engine.disks.emit import TreeSize

BLOCK_BYTES = 4096
_JOURNAL_MIB = 16
_BYTES_PER_INODE = 16384
_INODE_BYTES = 256
_FEATURES = (
    "none", "has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit", "flex_bg", "sparse_super",
    "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum", "metadata_csum_seed",
)  # fmt: skip
"""Named one by one, so that the host's mke2fs.conf has no say."""

_XATTR_OF_MKE2FS = b"security.capability"
_DEBUGFS_LINE_BYTES = 8000
"""debugfs reads its scripts in lines of BUFSIZ (8192 with glibc)."""

XattrOf = tuple[bytes, bytes, bytes]
"""A path without a leading slash, an attribute's name and its value."""

_SUPERBLOCK_OFFSET = 1024
_MAGIC_AND_STATE = struct.Struct(
    "<HH"
)  # at byte 56 of the superblock (Documentation/filesystems/ext4, "Super Block")
_EXT4_MAGIC = 0xEF53
_STATE_CLEAN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ext4Shape:
    """Size and identity of a file system to make. Equal shapes and equal content give equal files."""

    size_bytes: int
    inodes: int
    uuid: str


def shape_for(need: TreeSize, *, size_gb: int, uuid: str) -> Ext4Shape:
    """A file system of `size_gb` GiB, or the next GiB that holds the content with a tenth to spare."""
    wanted = size_gb << 30
    tables = need.inodes * _INODE_BYTES + (_JOURNAL_MIB << 20)
    content = need.blocks * BLOCK_BYTES + tables
    least = content + content // 10 + (64 << 20)
    size = max(wanted, -(-least // (1 << 30)) << 30)
    inodes = max(size // _BYTES_PER_INODE, need.inodes + need.inodes // 4 + 1024)
    return Ext4Shape(size_bytes=size, inodes=inodes, uuid=uuid)


def build_mke2fs(image: Path, shape: Ext4Shape, source: str) -> Command:
    """The command that makes `image` from `source`: `-` for an archive on stdin, or a directory's path."""
    extended = (
        "lazy_itable_init=1,lazy_journal_init=1,nodiscard,assume_storage_prezeroed=1,packed_meta_blocks=1,"
        f"root_owner=0:0,hash_seed={shape.uuid}"
    )
    return Command(
        argv=(
            "mke2fs", "-q", "-F", "-O", ",".join(_FEATURES), "-b", str(BLOCK_BYTES), "-I", str(_INODE_BYTES),
            "-m", "0", "-J", f"size={_JOURNAL_MIB}", "-N", str(shape.inodes), "-U", shape.uuid, "-E", extended,
            "-d", source, str(image), str(shape.size_bytes // BLOCK_BYTES),
        ),
        env={"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8", "MKE2FS_CONFIG": "/dev/null"},
    )  # fmt: skip


def build_debugfs(image: Path, script: Path) -> Command:
    """The command that carries out a script of debugfs commands on `image`."""
    return Command(
        argv=("debugfs", "-w", "-f", str(script), str(image)), env={"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8"}
    )


def write_finishing_script(
    directory: Path,
    *,
    keep_lost_found: bool,
    xattrs: Iterable[XattrOf] = (),
    times: Iterable[tuple[bytes, int]] = (),
) -> Path | None:
    """Write what mke2fs leaves to be done as a script for debugfs, with the files it needs; None when it is nothing.

    mke2fs always makes `/lost+found`, which no image has (e2fsck makes it anew when it ever needs one); of an archive's
    extended attributes it takes only `security.capability`, and of times whole seconds before 2038. `times` are paths
    and their mtimes in nanoseconds.
    """
    lines = [] if keep_lost_found else [b"rmdir /lost+found"]
    values: dict[bytes, Path] = {}
    for path, name, value in xattrs:
        if name == _XATTR_OF_MKE2FS:
            continue
        if value not in values:
            values[value] = directory / f"xattr-{len(values)}"
            values[value].write_bytes(value)
        lines.append(b"ea_set -f %s %s %s" % (bytes(values[value]), _quoted(path), name))
        if not _fits_line(lines[-1]) or b" " in name:
            raise UnsupportedError(
                f"the extended attribute {name!r} of {path!r} has a name that cannot be stored"
            )
    for path, mtime_ns in times:
        lines += [line for line in _time_lines(path, mtime_ns) if _fits_line(line)]
    if not lines:
        return None
    script = directory / "debugfs-script"
    script.write_bytes(b"\n".join(lines) + b"\n")
    return script


def _time_lines(path: bytes, mtime_ns: int) -> tuple[bytes, bytes]:
    """Set seconds, then what ext4 keeps apart: 30 bits of nanoseconds over two more bits of seconds
    (Documentation/filesystems/ext4, "Inode Timestamps")."""
    seconds, nanoseconds = divmod(mtime_ns, 10**9)
    low = (seconds + (1 << 31)) % (1 << 32) - (1 << 31)
    extra = nanoseconds << 2 | (seconds - low) >> 32
    target = _quoted(path)
    return (
        b"set_inode_field %s mtime @%d" % (target, seconds),
        b"set_inode_field %s mtime_extra 0x%x" % (target, extra),
    )


def _quoted(path: bytes) -> bytes:
    return b'"/' + path.replace(b'"', b'""') + b'"'


def _fits_line(line: bytes) -> bool:
    """debugfs knows neither longer lines nor line ends within them."""
    return len(line) <= _DEBUGFS_LINE_BYTES and all(byte >= 32 for byte in line)


def debugfs_error(completed: Completed, *, what: str) -> BoxliteError | None:
    """debugfs ends with 0 whatever happens; what failed is on its stderr, after the line with its version."""
    troubles = [
        line for line in completed.stderr_tail.splitlines() if line and not line.startswith("debugfs ")
    ]
    if completed.exit_status == 0 and not troubles:
        return None
    last = troubles[-1] if troubles else f"debugfs ended with status {completed.exit_status}"
    return ImageError(f"making the disk of {what}: {last}")


def mke2fs_error(completed: Completed, *, what: str) -> BoxliteError:
    """Say in our words why mke2fs failed."""
    text = completed.stderr_tail
    last = text.splitlines()[-1] if text else f"it ended with status {completed.exit_status}"
    if "No space left" in text or "No free space" in text:
        return ResourceExhaustedError(
            f"making the disk of {what}: {last}",
            hint="free disk space (`boxlite df` shows what is used, `boxlite system prune` frees it) and try again",
        )
    if "libarchive" in text or "Not a directory" in text:
        return UnsupportedError(
            f"making the disk of {what}: mke2fs cannot read archives: {last}",
            hint="install e2fsprogs 1.47.1 or newer and libarchive (Debian: libarchive13 or libarchive13t64)",
        )
    return ImageError(f"making the disk of {what}: {last}")


def is_clean_ext4(path: Path) -> bool:
    """Does the file begin with the superblock of a cleanly written ext4?"""
    with path.open("rb") as file:
        file.seek(_SUPERBLOCK_OFFSET + 56)
        head = file.read(_MAGIC_AND_STATE.size)
    return len(head) == _MAGIC_AND_STATE.size and _MAGIC_AND_STATE.unpack(head) == (_EXT4_MAGIC, _STATE_CLEAN)
