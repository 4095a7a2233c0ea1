"""Records of the ext4 file system as they lie on disk (Linux, Documentation/filesystems/ext4). Pure: values in, bytes out.

Blocks have 4 KiB, inodes 256 bytes, group descriptors 32. Little endian, but for the journal.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from engine.values import dataclass

BLOCK_BYTES = 4096
INODE_BYTES = 256
BLOCKS_PER_GROUP = 8 * BLOCK_BYTES
MAX_INODES_PER_GROUP = 8 * BLOCK_BYTES
INODES_PER_BLOCK = BLOCK_BYTES // INODE_BYTES
SUPERBLOCK_OFFSET = 1024
MAGIC = 0xEF53
STATE_CLEAN = 1

ROOT_INODE = 2
JOURNAL_INODE = 8
FIRST_INODE = 11
MAX_LINKS = 65000
XATTR_ROOM_BYTES = 96
"""What an inode has left for extended attributes."""
FAST_LINK_BYTES = 59

BLOCK_UNINIT, INODE_UNINIT, INODE_ZEROED = 2, 1, 4

_COMPAT = 0x4 | 0x8 | 0x20 | 0x200
"""has_journal, ext_attr, dir_index, sparse_super2 (with no backups)."""
_INCOMPAT = 0x2 | 0x40 | 0x200
"""filetype, extents, flex_bg."""
_RO_COMPAT = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40
"""sparse_super, large_file, huge_file, gdt_csum, dir_nlink, extra_isize."""
_MOUNT_OPTIONS = 0x4 | 0x8  # user_xattr, acl
_EXTRA_BYTES = 32
_GROUPS_PER_FLEX_LOG2 = 4
_HALF_MD4 = 1
_SIGNED_HASH = 1

_EXTENTS_FLAG = 0x80000
_EXTENT_MAGIC = 0xF30A
MAX_EXTENT_BLOCKS = 1 << 15
_EXTENTS_IN_INODE = 4
_EXTENTS_IN_BLOCK = (BLOCK_BYTES - 12) // 12

_INODE = struct.Struct("<HHIIIIIHHII4x60sIIII HHHH HH HHIIIIIII".replace(" ", ""))
_EXTENT_HEADER = struct.Struct("<HHHHI")
_EXTENT = struct.Struct("<IHHI")
_EXTENT_INDEX = struct.Struct("<IIHH")
_DIRENT = struct.Struct("<IHBB")
_GROUP = struct.Struct("<IIIHHHHIHHHH")
_LONG_TIME = 1 << 32


class Extent(NamedTuple):
    """`blocks` blocks of a file from its block `logical` on lie from block `physical` on."""

    logical: int
    blocks: int
    physical: int


def inode_record(
    *,
    mode: int,
    uid: int,
    gid: int,
    size_bytes: int,
    links: int,
    mtime_ns: int,
    blocks: int = 0,
    content: bytes = b"",
    has_extents: bool = False,
    xattr_block: int = 0,
    xattrs: bytes = b"",
) -> bytes:
    """An inode. `mode` includes the kind; `content` is what the 60 bytes for extents hold; `xattrs` what follows the inode.

    All its times are the one that archives have.
    """
    seconds, nanoseconds = divmod(mtime_ns, 10**9)
    low = seconds % _LONG_TIME
    signed_low = low - _LONG_TIME if low >= 1 << 31 else low
    extra = nanoseconds << 2 | ((seconds - signed_low) >> 32 & 3)
    sectors = blocks * (BLOCK_BYTES // 512)
    fixed = _INODE.pack(
        mode, uid & 0xFFFF, size_bytes & 0xFFFFFFFF, low, low, low, 0, gid & 0xFFFF, links,
        sectors & 0xFFFFFFFF, _EXTENTS_FLAG if has_extents else 0, content, 0, xattr_block,
        size_bytes >> 32, 0, sectors >> 32, 0, uid >> 16, gid >> 16, 0, 0,
        _EXTRA_BYTES, 0, extra, extra, extra, low, extra, 0, 0,
    )  # fmt: skip
    return (fixed + xattrs).ljust(INODE_BYTES, b"\0")


def device_content(major: int, minor: int) -> bytes:
    """What a device's inode holds: the old, short form of its number where that is possible."""
    if major < 256 and minor < 256:
        return struct.pack("<II", major << 8 | minor, 0)
    return struct.pack("<II", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)


def split_run(logical: int, physical: int, count: int) -> list[Extent]:
    """A run of blocks as extents, each as long as one may be."""
    return [
        Extent(logical=logical + done, physical=physical + done, blocks=min(MAX_EXTENT_BLOCKS, count - done))
        for done in range(0, count, MAX_EXTENT_BLOCKS)
    ]


def extent_tree_blocks(extents: int) -> int:
    """How many blocks the tree of so many extents takes besides the inode."""
    total, nodes = 0, extents
    while nodes > _EXTENTS_IN_INODE:
        nodes = -(-nodes // _EXTENTS_IN_BLOCK)
        total += nodes
    return total


def extent_tree(extents: Sequence[Extent], first_block: int) -> tuple[bytes, list[bytes]]:
    """The tree's root, which lies in the inode, and its other nodes, which lie from `first_block` on."""
    entries = [_EXTENT.pack(one.logical, one.blocks, 0, one.physical) for one in extents]
    starts = [one.logical for one in extents]
    nodes: list[bytes] = []
    depth = 0
    while len(entries) > _EXTENTS_IN_INODE:
        pointers, firsts = [], []
        for begin in range(0, len(entries), _EXTENTS_IN_BLOCK):
            part = entries[begin : begin + _EXTENTS_IN_BLOCK]
            block = first_block + len(nodes)
            nodes.append(_extent_node(part, depth, _EXTENTS_IN_BLOCK).ljust(BLOCK_BYTES, b"\0"))
            pointers.append(_EXTENT_INDEX.pack(starts[begin], block, 0, 0))
            firsts.append(starts[begin])
        entries, starts, depth = pointers, firsts, depth + 1
    return _extent_node(entries, depth, _EXTENTS_IN_INODE).ljust(60, b"\0"), nodes


def _extent_node(entries: Sequence[bytes], depth: int, room: int) -> bytes:
    return _EXTENT_HEADER.pack(_EXTENT_MAGIC, len(entries), room, depth, 0) + b"".join(entries)


def directory_blocks(entries: Sequence[tuple[bytes, int, int]]) -> bytes:
    """Whole blocks of directory entries: name, inode, kind (`Linear Directories`)."""
    blocks = bytearray()
    room, last, last_bytes = BLOCK_BYTES, 0, 0
    for name, inode, kind in entries:
        size = 8 + (len(name) + 3 & -4)
        if size > room:
            struct.pack_into("<H", blocks, last + 4, last_bytes + room)
            blocks += bytes(room)
            room = BLOCK_BYTES
        last, last_bytes = len(blocks), size
        blocks += _DIRENT.pack(inode, size, len(name), kind) + name.ljust(size - 8, b"\0")
        room -= size
    struct.pack_into("<H", blocks, last + 4, last_bytes + room)
    return bytes(blocks + bytes(room))


def directory_block_count(name_lengths: Sequence[int]) -> int:
    """How many blocks `directory_blocks` takes for names of these lengths, `.` and `..` not among them."""
    count, room = 1, BLOCK_BYTES - 24
    for length in name_lengths:
        size = 8 + (length + 3 & -4)
        if size > room:
            count, room = count + 1, BLOCK_BYTES
        room -= size
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """What differs from one file system of ours to the next."""

    uuid: UUID
    blocks: int
    inodes: int
    inodes_per_group: int
    free_blocks: int
    free_inodes: int
    journal_content: bytes
    """The 60 bytes of extents of the journal's inode, of which the superblock keeps a copy."""
    journal_bytes: int

    def record(self) -> bytes:
        """The 1024 bytes."""
        raw = bytearray(1024)

        def put(offset: int, form: str, *values: object) -> None:
            struct.pack_into("<" + form, raw, offset, *values)

        put(0, "IIIIII", self.inodes, self.blocks, 0, self.free_blocks, self.free_inodes, 0)
        put(24, "IIIII", 2, 2, BLOCKS_PER_GROUP, BLOCKS_PER_GROUP, self.inodes_per_group)
        put(52, "HHHHHH", 0, 0xFFFF, MAGIC, STATE_CLEAN, 1, 0)
        put(76, "I", 1)  # dynamic revision
        put(84, "IHH", FIRST_INODE, INODE_BYTES, 0)
        put(92, "III", _COMPAT, _INCOMPAT, _RO_COMPAT)
        put(104, "16s", self.uuid.bytes)
        put(224, "I", JOURNAL_INODE)
        put(236, "16s", self.uuid.bytes)  # of the hash of directories
        put(252, "BBHI", _HALF_MD4, 1, 0, _MOUNT_OPTIONS)
        put(268, "60sII", self.journal_content, 0, self.journal_bytes)
        put(348, "HHI", _EXTRA_BYTES, _EXTRA_BYTES, _SIGNED_HASH)
        put(372, "B", _GROUPS_PER_FLEX_LOG2)
        return bytes(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A block group: where its tables lie and what is free in it."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    free_blocks: int
    free_inodes: int
    directories: int
    flags: int
    unused_inodes: int

    def record(self, number: int, uuid: UUID) -> bytes:
        raw = _GROUP.pack(
            self.block_bitmap, self.inode_bitmap, self.inode_table, self.free_blocks, self.free_inodes,
            self.directories, self.flags, 0, 0, 0, self.unused_inodes, 0,
        )  # fmt: skip
        checksum = _crc16(uuid.bytes + struct.pack("<I", number) + raw[:-2])
        return raw[:-2] + struct.pack("<H", checksum)


def journal_superblock(uuid: UUID, blocks: int) -> bytes:
    """The first block of an empty journal (Documentation/filesystems/ext4, "Journal (jbd2)")."""
    head = struct.pack(">IIIIIIIIIIII", 0xC03B3998, 4, 0, BLOCK_BYTES, blocks, 1, 1, 0, 0, 0, 0, 0)
    return (head + uuid.bytes + struct.pack(">I", 1)).ljust(BLOCK_BYTES, b"\0")


def _crc16_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC16 = _crc16_table()


def _crc16(raw: bytes) -> int:
    """CRC-16/ARC begun with ones, as group descriptors have it."""
    crc = 0xFFFF
    for byte in raw:
        crc = crc >> 8 ^ _CRC16[(crc ^ byte) & 0xFF]
    return crc
