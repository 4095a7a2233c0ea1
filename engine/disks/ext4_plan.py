"""What a tree takes of an ext4 file system, and the size and layout of one that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from engine.disks.ext4_records import (
    BLOCK_BYTES,
    BLOCKS_PER_GROUP,
    FAST_LINK_BYTES,
    FIRST_INODE,
    INODE_BYTES,
    INODES_PER_BLOCK,
    MAX_INODES_PER_GROUP,
    MAX_LINKS,
    ROOT_INODE,
    directory_block_count,
    extent_tree_blocks,
    split_run,
)
from engine.disks.ext4_xattrs import XattrPlaces, place_xattrs
from engine.disks.merge import Inode, Tree
from engine.disks.tar_entry import EntryKind, TarEntry
from engine.errors import UnsupportedError
from engine.values import dataclass

JOURNAL_BLOCKS = (16 << 20) // BLOCK_BYTES
_BYTES_PER_INODE = 16384
_GROUP_BYTES = 32
_GIB = 1 << 30
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSize:
    """What a tree needs: inodes (the reserved ones too), and blocks for content, directories and attributes."""

    inodes: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ext4Shape:
    """Size and identity of a file system. Equal shapes and equal content give equal files."""

    size_bytes: int
    inodes_per_group: int
    uuid: UUID

    @property
    def blocks(self) -> int:
        return self.size_bytes // BLOCK_BYTES

    @property
    def groups(self) -> int:
        return self.blocks // BLOCKS_PER_GROUP

    @property
    def block_bitmaps(self) -> int:
        """The block of the first group's bitmap; the others follow it. The same goes for the other tables."""
        return 1 + -(-self.groups * _GROUP_BYTES // BLOCK_BYTES)

    @property
    def inode_bitmaps(self) -> int:
        return self.block_bitmaps + self.groups

    @property
    def inode_tables(self) -> int:
        return self.inode_bitmaps + self.groups

    @property
    def table_blocks(self) -> int:
        """Blocks of one group's inode table."""
        return self.inodes_per_group // INODES_PER_BLOCK

    @property
    def journal(self) -> int:
        return self.inode_tables + self.groups * self.table_blocks

    @property
    def content(self) -> int:
        """The first block that a file can have."""
        return self.journal + JOURNAL_BLOCKS


def number_tree(tree: Tree) -> TreeSize:
    """Give every inode its number, in the order of the walk, and count its names. Exact.

    Raises UnsupportedError for what ext4 cannot hold, naming it.
    """
    for _, node in tree.walk():
        node.inode.number = node.inode.links = 0
    tree.root.inode.number = ROOT_INODE
    following, blocks = FIRST_INODE, 0
    for path, node in tree.walk():
        inode = node.inode
        inode.links += 1
        if inode.links > 1:
            if inode.links > MAX_LINKS:
                raise UnsupportedError(f"{_shown(path)} has more than {MAX_LINKS} names")
            continue
        if inode.number != ROOT_INODE:
            inode.number = following
            following += 1
        if node.children is not None:
            blocks += directory_block_count([len(name) for name in sorted(node.children)])
        else:
            blocks += _content_blocks(inode.entry)
        if inode.entry.xattrs:
            blocks += bool(xattrs_of(path, inode).block)
    return TreeSize(inodes=following - 1, blocks=blocks)


def xattrs_of(path: bytes, inode: Inode) -> XattrPlaces:
    """Where an inode's attributes go. Raises UnsupportedError."""
    try:
        places = place_xattrs(inode.entry.xattrs)
    except ValueError as error:
        raise UnsupportedError(f"{_shown(path)} cannot be stored: {error}") from error
    if places is None:
        size = sum(len(name) + len(value) for name, value in inode.entry.xattrs)
        raise UnsupportedError(
            f"{_shown(path)} has {size} bytes of extended attributes, more than ext4 can hold"
        )
    return places


def shape_for(need: TreeSize, *, size_gb: int, uuid: UUID) -> Ext4Shape:
    """A file system of `size_gb` GiB, or the next GiB that holds the content with a tenth to spare."""
    inodes = need.inodes + need.inodes // 4 + 1024
    content = need.blocks * BLOCK_BYTES + inodes * INODE_BYTES + JOURNAL_BLOCKS * BLOCK_BYTES
    for_inodes = -(-inodes // MAX_INODES_PER_GROUP) * BLOCKS_PER_GROUP * BLOCK_BYTES
    least = max(content + content // 10 + _SPARE_BYTES, for_inodes)
    size = max(size_gb * _GIB, -(-least // _GIB) * _GIB)
    groups = size // (BLOCKS_PER_GROUP * BLOCK_BYTES)
    per_group = -(-max(size // _BYTES_PER_INODE, inodes) // groups)
    return Ext4Shape(
        size_bytes=size, inodes_per_group=-(-per_group // INODES_PER_BLOCK) * INODES_PER_BLOCK, uuid=uuid
    )


def block_runs(entry: TarEntry) -> Iterator[tuple[int, int]]:
    """The runs of blocks that hold a file's data: the first block's number within the file, and how many."""
    if entry.regions is None:
        if entry.size_bytes:
            yield 0, -(-entry.size_bytes // BLOCK_BYTES)
        return
    begin = end = 0
    for offset, length in entry.regions:
        first, after = offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES)
        if first > end:
            if end > begin:
                yield begin, end - begin
            begin = first
        end = max(end, after)
    if end > begin:
        yield begin, end - begin


def _content_blocks(entry: TarEntry) -> int:
    if entry.kind is EntryKind.SYMLINK:
        return 0 if len(entry.link) <= FAST_LINK_BYTES else 1
    if entry.kind is not EntryKind.FILE or not entry.stored_bytes:
        return 0
    count = extents = 0
    for logical, blocks in block_runs(entry):
        count += blocks
        extents += len(split_run(logical, 0, blocks))
    return count + extent_tree_blocks(extents)


def _shown(path: bytes) -> str:
    return repr(b"/" + path[:80])[1:]
