"""Write a merged tree as an ext4 file system, in one pass, without a program and without being root.

The file's beginning holds every table, then the journal, then content in the order of the walk, each file in one piece.
What is never written is a hole, and holes are what ext4 takes for empty. Nothing here is older than Linux 4.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from engine.disks.ext4_plan import JOURNAL_BLOCKS, Ext4Shape, block_runs, xattrs_of
from engine.disks.ext4_records import (
    BLOCK_BYTES,
    BLOCK_UNINIT,
    BLOCKS_PER_GROUP,
    FAST_LINK_BYTES,
    FIRST_INODE,
    INODE_BYTES,
    INODE_UNINIT,
    INODE_ZEROED,
    JOURNAL_INODE,
    MAX_EXTENT_BLOCKS,
    MAX_LINKS,
    SUPERBLOCK_OFFSET,
    Extent,
    Group,
    Superblock,
    device_content,
    directory_blocks,
    extent_tree,
    extent_tree_blocks,
    inode_record,
    journal_superblock,
    split_run,
)
from engine.disks.merge import Inode, Node, Tree
from engine.disks.sources import Source, copy_range, read_exactly, write_exactly
from engine.disks.tar_entry import EntryKind
from engine.errors import InternalError

_BATCH_BYTES = 1 << 20
_SMALL_FILE_BYTES = 1 << 16
_MODES = {
    EntryKind.FILE: 0o100000, EntryKind.DIRECTORY: 0o040000, EntryKind.SYMLINK: 0o120000,
    EntryKind.CHARACTER: 0o020000, EntryKind.BLOCK: 0o060000, EntryKind.FIFO: 0o010000,
}  # fmt: skip
_DIRENT_KINDS = {
    EntryKind.FILE: 1, EntryKind.DIRECTORY: 2, EntryKind.CHARACTER: 3, EntryKind.BLOCK: 4, EntryKind.FIFO: 5,
    EntryKind.SYMLINK: 7,
}  # fmt: skip


def write_ext4(
    tree: Tree, sources: Sequence[Source], target: Path, shape: Ext4Shape, cancelled: Event | None = None
) -> None:
    """Make `target` of `tree`, which `number_tree` has numbered; the data of layer N come from `sources[N]`.

    Blocks. Raises OSError, StorageError; UnsupportedError for attributes that ext4 cannot hold.
    """
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, shape.size_bytes)
        _Writing(_Output(fd), sources, shape, cancelled or Event()).run(tree)
        os.fsync(fd)  # it is taken for whole from now on, also after a power cut
    finally:
        os.close(fd)


@dataclass(slots=True, eq=False)
class _Output:
    """Writes that follow one another gathered. Small gaps between them are filled with zeros, so that nothing may be written
    before what lies before it, but for what is far away."""

    fd: int
    place: int = 0
    batch: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes, place: int) -> None:
        gap = place - self.place - len(self.batch)
        if not 0 <= gap < BLOCK_BYTES or len(self.batch) >= _BATCH_BYTES:
            self.flush()
            self.place, gap = place, 0
        if gap:
            self.batch += bytes(gap)
        self.batch += data

    def flush(self) -> None:
        write_exactly(self.fd, self.batch, self.place)
        self.place += len(self.batch)
        self.batch = bytearray()


class _Writing:
    """One file system being written."""

    def __init__(
        self, output: _Output, sources: Sequence[Source], shape: Ext4Shape, cancelled: Event
    ) -> None:
        self._output = output
        self._inodes = _Output(output.fd)
        self._sources = sources
        self._shape = shape
        self._cancelled = cancelled
        self._free = shape.content
        self._following = FIRST_INODE
        self._directories: Counter[int] = Counter()
        self._parents: dict[int, int] = {}

    def run(self, tree: Tree) -> None:
        journal, _ = extent_tree(split_run(0, self._shape.journal, JOURNAL_BLOCKS), 0)
        self._output.write(
            journal_superblock(self._shape.uuid, JOURNAL_BLOCKS), self._shape.journal * BLOCK_BYTES
        )
        walk = tree.walk()
        self._write_directory(*next(walk))
        self._put_inode(
            JOURNAL_INODE,
            inode_record(
                mode=0o100600, uid=0, gid=0, size_bytes=JOURNAL_BLOCKS * BLOCK_BYTES, links=1, mtime_ns=0,
                blocks=JOURNAL_BLOCKS, content=journal, has_extents=True,
            ),
        )  # fmt: skip
        for path, node in walk:
            if node.children is not None:
                self._write_directory(path, node)
            elif node.inode.number == self._following:  # else it is written, under its first name
                self._write_leaf(path, node.inode)
        self._output.flush()
        self._inodes.flush()
        self._write_tables(journal)

    def _write_directory(self, path: bytes, node: Node) -> None:
        if self._cancelled.is_set():
            raise InternalError("cancelled")
        children, number = node.children or {}, node.inode.number
        entries = [(b".", number, 2), (b"..", self._parents.pop(number, number), 2)]
        below = 0
        for name in sorted(children):
            child = children[name]
            entries.append((name, child.inode.number, _DIRENT_KINDS[child.inode.entry.kind]))
            if child.children is not None:
                below += 1
                self._parents[child.inode.number] = number
        content = directory_blocks(entries)
        count = len(content) // BLOCK_BYTES
        first = self._take(count)
        self._output.write(content, first * BLOCK_BYTES)
        self._directories[(number - 1) // self._shape.inodes_per_group] += 1
        links = 2 + below
        self._write_inode(
            path,
            node.inode,
            [Extent(logical=0, blocks=count, physical=first)],
            size_bytes=len(content),
            links=links if links <= MAX_LINKS else 1,
        )

    def _write_leaf(self, path: bytes, inode: Inode) -> None:
        entry = inode.entry
        if entry.kind is EntryKind.FILE:
            self._write_inode(path, inode, self._write_content(inode), size_bytes=entry.size_bytes)
        elif entry.kind is EntryKind.SYMLINK and len(entry.link) > FAST_LINK_BYTES:
            first = self._take(1)
            self._output.write(entry.link.ljust(BLOCK_BYTES, b"\0"), first * BLOCK_BYTES)
            run = [Extent(logical=0, blocks=1, physical=first)]
            self._write_inode(path, inode, run, size_bytes=len(entry.link))
        elif entry.kind is EntryKind.SYMLINK:
            self._write_inode(path, inode, None, size_bytes=len(entry.link), content=entry.link)
        elif entry.kind in (EntryKind.CHARACTER, EntryKind.BLOCK):
            content = device_content(entry.dev_major, entry.dev_minor)
            self._write_inode(path, inode, None, size_bytes=0, content=content)
        else:
            self._write_inode(path, inode, None, size_bytes=0)

    def _write_content(self, inode: Inode) -> list[Extent]:
        """Copy a file's data and return where they are."""
        entry = inode.entry
        if not entry.stored_bytes:
            return []
        origin = self._sources[inode.layer]
        source, offset = origin.descriptor(entry), entry.data_offset
        if entry.regions is None:
            count = -(-entry.size_bytes // BLOCK_BYTES)
            first = self._take(count)
            self._copy(source, offset, first * BLOCK_BYTES, entry.size_bytes)
            if count <= MAX_EXTENT_BLOCKS:
                return [Extent(logical=0, blocks=count, physical=first)]
            return split_run(0, first, count)
        runs = [(logical, count, self._take(count)) for logical, count in block_runs(entry)]
        following = 0
        for begin, length in entry.regions:
            while begin >= (runs[following][0] + runs[following][1]) * BLOCK_BYTES:
                following += 1
            logical, _, first = runs[following]
            place = offset if origin.is_packed else begin
            self._copy(source, place, (first - logical) * BLOCK_BYTES + begin, length)
            offset += length
        return [one for logical, count, first in runs for one in split_run(logical, first, count)]

    def _copy(self, source: int, offset: int, place: int, size: int) -> None:
        if size <= _SMALL_FILE_BYTES:
            self._output.write(read_exactly(source, offset, size), place)
        else:
            if self._cancelled.is_set():
                raise InternalError("cancelled")
            self._output.flush()
            copy_range(source, offset, self._output.fd, place, size)

    def _write_inode(
        self,
        path: bytes,
        inode: Inode,
        extents: Sequence[Extent] | None,
        *,
        size_bytes: int,
        links: int = 0,
        content: bytes = b"",
    ) -> None:
        entry, blocks = inode.entry, 0
        if extents is not None:
            nodes = extent_tree_blocks(len(extents))
            first = self._take(nodes)
            content, tree_blocks = extent_tree(extents, first)
            for number, block in enumerate(tree_blocks):
                self._output.write(block, (first + number) * BLOCK_BYTES)
            blocks = nodes + sum(one.blocks for one in extents)
        xattrs, xattr_block = b"", 0
        if entry.xattrs:
            places = xattrs_of(path, inode)
            xattrs = places.in_inode
            if places.block:
                xattr_block = self._take(1)
                blocks += 1
                self._output.write(places.block, xattr_block * BLOCK_BYTES)
        record = inode_record(
            mode=_MODES[entry.kind] | entry.mode, uid=entry.uid, gid=entry.gid, size_bytes=size_bytes,
            links=links or inode.links, mtime_ns=entry.mtime_ns, blocks=blocks, content=content,
            has_extents=extents is not None, xattr_block=xattr_block, xattrs=xattrs,
        )  # fmt: skip
        self._put_inode(inode.number, record)
        self._following += inode.number == self._following

    def _put_inode(self, number: int, record: bytes) -> None:
        self._inodes.write(record, self._shape.inode_tables * BLOCK_BYTES + (number - 1) * INODE_BYTES)

    def _take(self, count: int) -> int:
        """The first of so many blocks in a row that nothing else has."""
        first = self._free
        self._free += count
        return first

    def _write_tables(self, journal: bytes) -> None:
        """Bitmaps, group descriptors and the superblock, when everything else has its place."""
        shape, used_inodes = self._shape, self._following - 1
        if self._free > shape.blocks:
            raise InternalError(f"{self._free} blocks were needed of {shape.blocks}")
        self._output.write(_ones(self._free), shape.block_bitmaps * BLOCK_BYTES)
        groups = bytearray()
        for number in range(shape.groups):
            blocks = min(max(self._free - number * BLOCKS_PER_GROUP, 0), BLOCKS_PER_GROUP)
            inodes = min(max(used_inodes - number * shape.inodes_per_group, 0), shape.inodes_per_group)
            if inodes:
                self._output.write(
                    _inode_bitmap(inodes, shape.inodes_per_group),
                    (shape.inode_bitmaps + number) * BLOCK_BYTES,
                )
            is_last = number == shape.groups - 1  # e2fsck wants that one's bitmap to be there
            group = Group(
                block_bitmap=shape.block_bitmaps + number,
                inode_bitmap=shape.inode_bitmaps + number,
                inode_table=shape.inode_tables + number * shape.table_blocks,
                free_blocks=BLOCKS_PER_GROUP - blocks,
                free_inodes=shape.inodes_per_group - inodes,
                directories=self._directories[number],
                flags=INODE_ZEROED
                | (not inodes) * INODE_UNINIT
                | (not blocks and not is_last) * BLOCK_UNINIT,
                unused_inodes=shape.inodes_per_group - inodes,
            )
            groups += group.record(number, shape.uuid)
        superblock = Superblock(
            uuid=shape.uuid,
            blocks=shape.blocks,
            inodes=shape.groups * shape.inodes_per_group,
            inodes_per_group=shape.inodes_per_group,
            free_blocks=shape.blocks - self._free,
            free_inodes=shape.groups * shape.inodes_per_group - used_inodes,
            journal_content=journal,
            journal_bytes=JOURNAL_BLOCKS * BLOCK_BYTES,
        )
        self._output.write(bytes(groups), BLOCK_BYTES)
        self._output.write(superblock.record(), SUPERBLOCK_OFFSET)  # last: what has none is no file system
        self._output.flush()


def _ones(count: int) -> bytes:
    """So many bits, lowest first, in whole bytes."""
    return b"\xff" * (count // 8) + bytes(((1 << count % 8) - 1,) if count % 8 else ())


def _inode_bitmap(used: int, inodes: int) -> bytes:
    """A whole block; the bits behind the last inode are set."""
    bitmap = int.from_bytes(_ones(used), "little") | (1 << 8 * BLOCK_BYTES) - (1 << inodes)
    return bitmap.to_bytes(BLOCK_BYTES, "little")
