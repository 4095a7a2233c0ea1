"""A directory of the host as a tree that goes into a base: copied as it is, links not followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.disks.merge import XATTR_NAMESPACES, Inode, Node, Tree, storable_time
from engine.disks.tar_entry import EntryKind, TarEntry

_KINDS = {
    stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFCHR: EntryKind.CHARACTER, stat.S_IFBLK: EntryKind.BLOCK, stat.S_IFIFO: EntryKind.FIFO,
}  # fmt: skip
_NO_XATTRS = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA})


@dataclass(slots=True)
class DirectorySource:
    """Reads the files below `root`, one at a time."""

    root: Path
    _open: int = field(default=-1, init=False)

    @property
    def is_packed(self) -> bool:
        return False

    def descriptor(self, entry: TarEntry) -> int:
        self.close()
        self._open = os.open(
            os.fsencode(self.root) + b"/" + entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
        return self._open

    def close(self) -> None:
        if self._open >= 0:
            os.close(self._open)
        self._open = -1


def scan_directory(directory: Path) -> Tree:
    """The tree of what is there now; sockets are left out. Its root belongs to root. Blocks; raises OSError."""
    root = os.fsencode(directory)
    tree = Tree()
    tree.root.inode = Inode(_entry(root, b"", directory.stat()), 0)
    tree.root.inode.entry.uid = tree.root.inode.entry.gid = 0
    several: dict[tuple[int, int], Inode] = {}
    pending = [(b"", tree.root)]
    while pending:
        path, node = pending.pop()
        assert node.children is not None
        with os.scandir(root + b"/" + path) as found:
            for item in found:
                status = item.stat(follow_symlinks=False)
                if stat.S_IFMT(status.st_mode) not in _KINDS:
                    continue
                below = path + b"/" + item.name if path else item.name
                inode = several.get((status.st_dev, status.st_ino))
                if inode is None:
                    inode = Inode(_entry(root, below, status), 0)
                    if status.st_nlink > 1 and inode.entry.kind is not EntryKind.DIRECTORY:
                        several[status.st_dev, status.st_ino] = inode
                child = node.children[item.name] = Node(inode)
                if inode.entry.kind is EntryKind.DIRECTORY:
                    child.children = {}
                    pending.append((below, child))
                tree.node_count += 1
    return tree


def _entry(root: bytes, path: bytes, status: os.stat_result) -> TarEntry:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    place = root + b"/" + path
    entry = TarEntry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=storable_time(status.st_mtime_ns),
        xattrs=_xattrs(place),
    )
    if kind is EntryKind.FILE:
        entry.size_bytes = entry.stored_bytes = status.st_size
        if status.st_blocks * 512 < status.st_size:
            entry.regions = tuple(_data_regions(place, status.st_size))
            entry.stored_bytes = sum(length for _, length in entry.regions)
    elif kind is EntryKind.SYMLINK:
        entry.link = os.fsencode(Path(os.fsdecode(place)).readlink())
    elif kind in (EntryKind.CHARACTER, EntryKind.BLOCK):
        entry.dev_major, entry.dev_minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return entry


def _data_regions(place: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what is no hole."""
    fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        end = 0
        while end < size:
            try:
                begin = os.lseek(fd, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            end = min(os.lseek(fd, begin, os.SEEK_HOLE), size)
            if begin < end:
                yield begin, end - begin
    finally:
        os.close(fd)


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
