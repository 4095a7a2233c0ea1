"""Write a merged tree as one tar archive into a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.disks.merge import Inode, Tree
from engine.disks.tar_entry import EntryKind, TarEntry
from engine.disks.tar_writer import END_OF_ARCHIVE, header_for, padding
from engine.errors import InternalError

_BATCH_BYTES = 1 << 18
_SMALL_FILE_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20
_LAST_PLAIN_TIME_NS = ((1 << 31) - 1) * 10**9


@dataclass(slots=True)
class _Output:
    """Small writes gathered, large files copied by the kernel."""

    fd: int
    batch: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        self.batch += data
        if len(self.batch) >= _BATCH_BYTES:
            self.flush()

    def copy(self, source: int, offset: int, size: int) -> None:
        if size <= _SMALL_FILE_BYTES:
            self.write(_read_exactly(source, offset, size))
            return
        self.flush()
        if hasattr(os, "splice"):
            _send_file(self.fd, source, offset, size)
            return
        while size:
            piece = _read_exactly(source, offset, min(size, _PIPE_BYTES))
            self.write(piece)
            offset, size = offset + len(piece), size - len(piece)

    def flush(self) -> None:
        rest = memoryview(self.batch)
        while rest:
            rest = rest[os.write(self.fd, rest) :]
        rest.release()
        self.batch = bytearray()


def write_archive(tree: Tree, sources: Sequence[int], fd: int) -> None:
    """Write `tree` to `fd`; the data of layer N come from descriptor `sources[N]`. Parents come before children.

    The first name of a file that has several carries it, the others are hard links to that name.
    """
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        # Refused where it is no pipe, or where this user's pipes are at their limit: that is only slower.
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    output = _Output(fd)
    first_names: dict[int, bytes] = {}
    for path, node in tree.walk():
        inode = node.inode
        if node.children is not None:
            output.write(header_for(inode.entry, path + b"/" if path else b"./"))
        elif inode.is_shared and id(inode) in first_names:
            output.write(header_for(inode.entry, path, link=first_names[id(inode)]))
        else:
            if inode.is_shared:
                first_names[id(inode)] = path
            _write_file(output, path, inode, sources)
    output.write(END_OF_ARCHIVE)
    output.flush()


def _write_file(output: _Output, path: bytes, inode: Inode, sources: Sequence[int]) -> None:
    entry = inode.entry
    output.write(header_for(entry, path))
    if entry.stored_bytes:
        output.copy(sources[inode.layer], entry.data_offset, entry.stored_bytes)
        output.write(padding(entry.stored_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSize:
    """What a tree needs of a file system: inodes, and blocks of 4 KiB for content (directories included)."""

    inodes: int
    blocks: int


def measure_tree(tree: Tree, block_bytes: int) -> TreeSize:
    """An upper bound for what `tree` takes; file systems add their own tables to it."""
    inodes = blocks = 0
    seen: set[int] = set()
    for _, node in tree.walk():
        if node.children is not None:
            # A directory entry is 8 bytes and the name, padded to 4; a hashed directory's leaves may be half empty.
            blocks += 2 + 2 * sum(12 + len(name) for name in node.children) // block_bytes
        elif id(node.inode) in seen:
            continue
        if node.inode.is_shared:
            seen.add(id(node.inode))
        inodes += 1
        blocks += _file_blocks(node.inode.entry, block_bytes)
    return TreeSize(inodes=inodes, blocks=blocks)


def iter_xattrs(tree: Tree) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The path, name and value of every extended attribute, once for a file with several names."""
    seen: set[int] = set()
    for path, node in tree.walk():
        if not node.inode.entry.xattrs or id(node.inode) in seen:
            continue
        seen.add(id(node.inode))
        for name, value in node.inode.entry.xattrs:
            yield path, name, value


def iter_fine_times(tree: Tree) -> Iterator[tuple[bytes, int]]:
    """The path and mtime (in nanoseconds) of everything whose time is not a whole second before 2038, once for a file with
    several names."""
    seen: set[int] = set()
    for path, node in tree.walk():
        mtime_ns = node.inode.entry.mtime_ns
        if (mtime_ns % 10**9 or mtime_ns > _LAST_PLAIN_TIME_NS) and id(node.inode) not in seen:
            seen.add(id(node.inode))
            yield path, mtime_ns


def _file_blocks(entry: TarEntry, block_bytes: int) -> int:
    blocks = -(-entry.stored_bytes // block_bytes)
    if entry.regions is not None:
        blocks += 2 * len(entry.regions)
    if entry.xattrs:
        blocks += 1
    if entry.kind is EntryKind.SYMLINK and len(entry.link) > 59:
        blocks += 1
    return blocks + blocks // 256


def _read_exactly(source: int, offset: int, size: int) -> bytes:
    data = os.pread(source, size, offset)
    while len(data) < size:
        more = os.pread(source, size - len(data), offset + len(data))
        if not more:
            raise InternalError("a layer's file became shorter while it was read")
        data += more
    return data


def _send_file(target: int, source: int, offset: int, size: int) -> None:
    while size:
        sent = os.sendfile(target, source, offset, size)
        if not sent:
            raise InternalError("a layer's file became shorter while it was read")
        offset, size = offset + sent, size - sent
