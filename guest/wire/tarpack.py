"""A tree of files as a tar stream: what the guest does for a copy out of a box, and the host for one into it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Protocol

from guest.wire.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    END_OF_ARCHIVE,
    FIFO,
    FILE,
    HARDLINK,
    MAX_HEADER_BYTES,
    MAX_REGIONS,
    SYMLINK,
    Entry,
    encode,
    padding,
)

READ_BYTES = 256 * 1024
_WHOLE_BYTES = 64 * 1024
"""Files up to that size go out in one piece with their header."""
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BLOCK_BYTES = 512
_KINDS = {
    stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK, stat.S_IFDIR: DIRECTORY, stat.S_IFIFO: FIFO,
}  # fmt: skip
_Regions = tuple[tuple[int, int], ...]


class Sink(Protocol):
    """Where a stream goes to; it must not keep what it is given."""

    def write(self, data: bytes | memoryview, /) -> object: ...


def every_attribute(_: str) -> bool:
    return True


def attributes_of_users(name: str) -> bool:
    """Those that anybody may set on a file of his own (xattr(7)); the rest says who may do what."""
    return name.startswith("user.")


class TreePacker:
    """Writes trees to one stream. `keeps` tells which attributes go along, `on_bytes` hears how much of files has been read.

    Links are not followed; of files with several names the second one is a hard link to the first. Sockets are left out, and
    what is gone by the time it is its turn.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        keeps: Callable[[str], bool] = every_attribute,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self._sink = sink
        self._keeps = keeps
        self._on_bytes = on_bytes
        self._read = 0
        self._names: dict[tuple[int, int], bytes] = {}
        self._buffer = memoryview(bytearray(READ_BYTES))

    def pack(self, path: bytes, name: bytes, *, with_top: bool = True) -> None:
        """Write `path`, called `name`, and what is below it; without an entry for itself unless `with_top`. Raises OSError."""
        if not self._pack_one(path, name, is_file=False, silent=not with_top):
            return
        pending = [self._below(path, name)]
        while pending:
            following = next(pending[-1], None)
            if following is None:
                pending.pop()
                continue
            below, below_name, is_file = following
            try:
                is_directory = self._pack_one(below, below_name, is_file=is_file)
                entries = self._below(below, below_name) if is_directory else None
            except FileNotFoundError:
                continue
            if entries is not None:
                pending.append(entries)

    def finish(self) -> None:
        """End the archive."""
        self._sink.write(END_OF_ARCHIVE)

    @staticmethod
    def _below(path: bytes, name: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
        """What is in a directory, by name: path, name in the archive, and whether it is a file."""
        with os.scandir(path) as found:
            entries = sorted((entry.name, entry.is_file(follow_symlinks=False)) for entry in found)
        return iter(
            [(b"%s/%s" % (path, leaf), b"%s/%s" % (name, leaf), is_file) for leaf, is_file in entries]
        )

    def _pack_one(self, path: bytes, name: bytes, *, is_file: bool, silent: bool = False) -> bool:
        """Write one entry; whether it is a directory."""
        if is_file and self._pack_file(path, name):
            return False
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            self._pack_file(path, name)
            return False
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is None or silent:
            return kind == DIRECTORY
        entry = _entry(name, kind, found)
        if kind == SYMLINK:
            entry.link = os.readlink(path)
        elif kind in (CHARACTER, BLOCK):
            entry.major, entry.minor = os.major(found.st_rdev), os.minor(found.st_rdev)
        if self._is_again(entry, found):
            return False
        entry.xattrs = self._attributes(path)
        self._sink.write(encode(entry))
        return kind == DIRECTORY

    def _pack_file(self, path: bytes, name: bytes) -> bool:
        """Write a regular file; False when it is none by now."""
        try:
            fd = os.open(path, _OPEN)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                return False
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return False
            entry = _entry(name, FILE, found)
            if found.st_nlink > 1 and self._is_again(entry, found):
                return True
            entry.xattrs = self._attributes(fd)
            size = entry.size
            if found.st_blocks * _BLOCK_BYTES < size:
                entry.regions = _regions(fd, size)
            if entry.regions is None and size <= _WHOLE_BYTES:
                content = os.read(fd, size)
                if len(content) < size:
                    raise _shorter(path)
                self._sink.write(b"%s%s%s" % (encode(entry), content, padding(size)))
                self._report(size)
                return True
            self._sink.write(encode(entry))
            for offset, length in entry.regions or ((0, size),):
                self._copy(fd, offset, length, path)
            self._sink.write(padding(entry.stored_bytes))
            return True
        finally:
            os.close(fd)

    def _copy(self, fd: int, offset: int, length: int, path: bytes) -> None:
        end = offset + length
        while offset < end:
            count = os.preadv(fd, [self._buffer[: end - offset]], offset)
            if not count:
                raise _shorter(path)
            self._sink.write(self._buffer[:count])
            offset += count
            self._report(count)

    def _report(self, count: int) -> None:
        self._read += count
        if self._on_bytes is not None:
            self._on_bytes(self._read)

    def _is_again(self, entry: Entry, found: os.stat_result) -> bool:
        """Write a hard link if this file has gone out under another name; remember it otherwise."""
        if found.st_nlink < 2 or entry.is_directory:
            return False
        first = self._names.setdefault((found.st_dev, found.st_ino), entry.path)
        if first == entry.path:
            return False
        entry.kind, entry.link, entry.size = HARDLINK, first, 0
        self._sink.write(encode(entry))
        return True

    def _attributes(self, file: int | bytes) -> tuple[tuple[bytes, bytes], ...]:
        try:
            names = os.listxattr(file) if isinstance(file, int) else os.listxattr(file, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            return ()
        if not names:
            return ()
        found, room = [], MAX_HEADER_BYTES // 2
        for name in filter(self._keeps, names):
            try:
                value = (
                    os.getxattr(file, name)
                    if isinstance(file, int)
                    else os.getxattr(file, name, follow_symlinks=False)
                )
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EACCES, errno.EPERM):
                    raise
                continue  # gone since, or not for us
            room -= len(name) + len(value)
            if room >= 0:
                found.append((os.fsencode(name), value))
        return tuple(found)


def _entry(name: bytes, kind: bytes, found: os.stat_result) -> Entry:
    return Entry(
        path=name,
        kind=kind,
        mode=found.st_mode & 0o7777,
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size if kind == FILE else 0,
        mtime_ns=found.st_mtime_ns,
    )


def _regions(fd: int, size: int) -> _Regions | None:
    """The parts of a file that are not holes; None where there are no holes, or too many parts (lseek(2), SEEK_DATA)."""
    found: list[tuple[int, int]] = []
    offset = 0
    while offset < size and len(found) < MAX_REGIONS:
        try:
            begin = os.lseek(fd, offset, os.SEEK_DATA)
            offset = min(os.lseek(fd, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                offset = size
                break
            return None
        if begin < size:
            found.append((begin, offset - begin))
    if offset < size or found == [(0, size)]:
        return None
    if not found or sum(found[-1]) < size:
        found.append((size, 0))  # as GNU tar ends its maps
    return tuple(found)


def _shorter(path: bytes) -> OSError:
    return OSError(errno.EIO, "it became shorter while it was copied", path)
