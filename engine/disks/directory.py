"""A directory of the host as a tree that goes into a base: copied as it is, links not followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.disks.descent import Descent
from engine.disks.merge import XATTR_NAMESPACES, Inode, Node, Tree, storable_time
from engine.disks.tar_entry import EntryKind, TarEntry

_KINDS = {
    stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFCHR: EntryKind.CHARACTER, stat.S_IFBLK: EntryKind.BLOCK, stat.S_IFIFO: EntryKind.FIFO,
}  # fmt: skip
_NO_XATTRS = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA})


class DirectorySource:
    """Reads what is below `root`, one file at a time."""

    def __init__(self, root: Path) -> None:
        self._below = Descent(root)
        self._open = -1

    @property
    def is_packed(self) -> bool:
        return False

    def descriptor(self, entry: TarEntry) -> int:
        self._let_go()
        self._open = self._below.open_file(entry.path)
        return self._open

    def close(self) -> None:
        self._let_go()
        self._below.close()

    def scan(self) -> Tree:
        """The tree of what is there now; sockets are left out. Its root belongs to root. Blocks; raises OSError, and
        StorageError for what changes meanwhile."""
        top = self._below.directory(b"")
        tree = Tree()
        tree.root.inode = Inode(self._entry(b"", os.fstat(top), top), 0)
        tree.root.inode.entry.uid = tree.root.inode.entry.gid = 0
        several: dict[tuple[int, int], Inode] = {}
        pending = [(b"", tree.root)]
        while pending:
            path, node = pending.pop()
            for name, inode in self._children(path, several):
                assert node.children is not None
                child = node.children[name] = Node(inode)
                if inode.entry.kind is EntryKind.DIRECTORY:
                    child.children = {}
                    pending.append((inode.entry.path, child))
                tree.node_count += 1
        return tree

    def _children(self, path: bytes, several: dict[tuple[int, int], Inode]) -> Iterator[tuple[bytes, Inode]]:
        """What is in one directory. `several` has the files that may have further names."""
        directory = self._below.directory(path)
        with os.scandir(directory) as found:
            for item in found:
                name = os.fsencode(item.name)
                below = path + b"/" + name if path else name
                try:
                    status = item.stat(follow_symlinks=False)
                    if stat.S_IFMT(status.st_mode) not in _KINDS:
                        continue
                    inode = several.get((status.st_dev, status.st_ino))
                    if inode is None:
                        inode = Inode(self._entry(below, status, directory), 0)
                except OSError as error:
                    raise self._below.failure(below, error) from error
                if status.st_nlink > 1 and inode.entry.kind is not EntryKind.DIRECTORY:
                    several[status.st_dev, status.st_ino] = inode
                yield name, inode

    def _entry(self, path: bytes, status: os.stat_result, directory: int) -> TarEntry:
        """`directory` is a descriptor of the one that `path` lies in."""
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        name = path.rpartition(b"/")[2]
        entry = TarEntry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=storable_time(status.st_mtime_ns),
            xattrs=_xattrs(b"/proc/self/fd/%d/%s" % (directory, name or b".")),
        )
        if kind is EntryKind.FILE:
            entry.size_bytes = entry.stored_bytes = status.st_size
            if status.st_blocks * 512 < status.st_size:
                entry.regions = tuple(self._data_regions(path, status.st_size))
                entry.stored_bytes = sum(length for _, length in entry.regions)
        elif kind is EntryKind.SYMLINK:
            entry.link = os.readlink(name, dir_fd=directory)
        elif kind in (EntryKind.CHARACTER, EntryKind.BLOCK):
            entry.dev_major, entry.dev_minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return entry

    def _data_regions(self, path: bytes, size: int) -> Iterator[tuple[int, int]]:
        """Offset and length of what is no hole."""
        file = self._below.open_file(path)
        try:
            end = 0
            while end < size:
                try:
                    begin = os.lseek(file, end, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # a hole up to the end
                        return
                    raise
                end = min(os.lseek(file, begin, os.SEEK_HOLE), size)
                if begin < end:
                    yield begin, end - begin
        finally:
            os.close(file)

    def _let_go(self) -> None:
        if self._open >= 0:
            os.close(self._open)
        self._open = -1


def _xattrs(place: bytes) -> tuple[tuple[bytes, bytes], ...]:
    if not hasattr(os, "listxattr"):
        return ()
    try:
        names = [os.fsencode(name) for name in os.listxattr(place, follow_symlinks=False)]
        return tuple(
            (name, os.getxattr(place, name, follow_symlinks=False))
            for name in sorted(names)
            if name.startswith(XATTR_NAMESPACES)
        )
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return ()
        raise
