"""Single files and directories of the container, as the process that calls sees them and with the rights it has.

Every function here is the body of a piece of work in a process of its own (see guest.files): the kernel resolves each
path inside the container, and checks each step against the user the process has become.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fnmatch
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from guest.users import User
from guest.wire import portal_pb2 as pb
from guest.wire.constants import OUTPUT_CHUNK_BYTES

NEW_FILE_MODE = 0o644
_OPEN = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_BATCH_ENTRIES = 512
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_MAGIC = frozenset("*?[")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a file is written; `mode` None: that of the file it replaces, NEW_FILE_MODE for a new one."""

    create_only: bool = False
    append: bool = False
    mode: int | None = None
    make_parents: bool = False


def become(user: User) -> None:
    """Give up root's rights for a user's, for good (setgroups(2), setresuid(2)). Root stays what it is."""
    if user.uid == 0 and user.gid == 0:
        return
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


# ---------------------------------------------------------------- bytes


def read_file(sink: IO[bytes], path: bytes, offset: int, limit: int) -> None:
    """Give a regular file's bytes from `offset` on, `limit` of them (0: to the end)."""
    fd = _open_regular(path, os.O_RDONLY)
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        left = limit
        while not limit or left:
            data = os.read(fd, min(OUTPUT_CHUNK_BYTES, left) if limit else OUTPUT_CHUNK_BYTES)
            if not data:
                return
            sink.write(data)
            left -= len(data)
    finally:
        os.close(fd)


def write_file(source: IO[bytes], path: bytes, options: WriteOptions) -> int:
    """Make a regular file of what `source` gives; how many bytes that was.

    A file that is replaced keeps its mode and owner and is whole at any time, unless it cannot leave its place (a mount
    of its own) or its directory takes no new file: then it is written in place.
    """
    if path.endswith(b"/"):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    try:
        if options.make_parents:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        return _write_file(source, path, options)
    except OSError as error:  # not the name of a file in the making
        raise OSError(error.errno, error.strerror, path) from error


def _write_file(source: IO[bytes], path: bytes, options: WriteOptions) -> int:
    mode = NEW_FILE_MODE if options.mode is None else options.mode
    if options.append or options.create_only:
        how = os.O_APPEND if options.append else os.O_EXCL
        fd = _open_regular(path, os.O_WRONLY | os.O_CREAT | how, mode)
        try:
            if options.mode is not None:
                os.fchmod(fd, mode)
            return _pour(source, fd)
        except BaseException:
            if options.create_only:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise
        finally:
            os.close(fd)
    return _replace_file(source, os.path.realpath(path), options)


def _replace_file(source: IO[bytes], path: bytes, options: WriteOptions) -> int:
    there = _existing(path)
    if there is None:
        mode = NEW_FILE_MODE if options.mode is None else options.mode
    else:
        mode = stat.S_IMODE(there.st_mode) if options.mode is None else options.mode
    temporary = os.path.join(os.path.dirname(path), b".%s.boxlite" % secrets.token_hex(8).encode())
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if there is None or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return _overwrite(source, path, options.mode)
    try:
        size_bytes = _pour(source, fd)
        if there is not None and (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
            with contextlib.suppress(PermissionError):
                os.fchown(fd, there.st_uid, there.st_gid)
        os.fchmod(fd, mode)
        try:
            os.rename(temporary, path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            os.lseek(fd, 0, os.SEEK_SET)
            with open(fd, "rb", closefd=False) as written:
                _overwrite(written, path, options.mode)
            os.unlink(temporary)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    return size_bytes


def _overwrite(source: IO[bytes], path: bytes, mode: int | None) -> int:
    fd = _open_regular(path, os.O_WRONLY | os.O_TRUNC)
    try:
        if mode is not None:
            os.fchmod(fd, mode)
        return _pour(source, fd)
    finally:
        os.close(fd)


def _existing(path: bytes) -> os.stat_result | None:
    """The regular file that is to be replaced, or None where there is nothing."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(there.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return there


def _open_regular(path: bytes, flags: int, mode: int = 0) -> int:
    fd = os.open(path, flags | _OPEN, mode)
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind):
        return fd
    os.close(fd)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file", path)


def _pour(source: IO[bytes], fd: int) -> int:
    size_bytes = 0
    while data := source.read(OUTPUT_CHUNK_BYTES):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        size_bytes += len(data)
    return size_bytes


# ---------------------------------------------------------------- listings


def list_directory(sink: IO[bytes], path: bytes) -> None:
    """Give what a directory holds, sorted by name, as one FileEntries message."""
    _give(sink, ((name, os.path.join(path, name)) for name in sorted(os.listdir(path))))


def list_matches(sink: IO[bytes], pattern: bytes) -> None:
    """Give what matches a shell pattern, sorted within each directory: `*`, `?`, `[…]`, and `**` for any directories. A
    leading dot must be written out; `**` follows no links; what may not be read matches nothing."""
    parts = [part for part in os.fsdecode(pattern).split("/") if part not in ("", ".")]
    parts = [part for place, part in enumerate(parts) if part != "**" or parts[place - 1 : place] != ["**"]]
    _give(sink, ((path, path) for path in _matches(b"/", parts)))


def _matches(directory: bytes, parts: list[str]) -> Iterator[bytes]:
    part, rest = (parts[0], parts[1:]) if parts else ("", [])
    if not part:
        yield directory
    elif part == "**":
        if rest:
            yield from _matches(directory, rest)
        for name in _names(directory):
            below = os.path.join(directory, name)
            if name.startswith(b"."):
                continue
            if not rest:
                yield below
            if os.path.isdir(below) and not os.path.islink(below):
                yield from _matches(below, parts)
    elif _MAGIC.isdisjoint(part):
        below = os.path.join(directory, os.fsencode(part))
        if os.path.lexists(below) and (not rest or os.path.isdir(below)):
            yield from _matches(below, rest)
    else:
        for name in _names(directory):
            text = os.fsdecode(name)
            below = os.path.join(directory, name)
            hidden = text.startswith(".") and not part.startswith(".")
            if not hidden and fnmatch.fnmatchcase(text, part) and (not rest or os.path.isdir(below)):
                yield from _matches(below, rest)


def _names(directory: bytes) -> list[bytes]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _give(sink: IO[bytes], places: Iterator[tuple[bytes, bytes]]) -> None:
    """Messages of one type may be concatenated to one (protobuf's encoding, "Last One Wins" and repeated fields)."""
    batch = pb.FileEntries()
    for name, path in places:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue  # gone since
        target = b""
        if stat.S_ISLNK(found.st_mode):
            with contextlib.suppress(OSError):
                target = os.readlink(path)
        batch.entries.add(path=name, stat=file_stat(found, target))
        if len(batch.entries) >= _BATCH_ENTRIES:
            sink.write(batch.SerializeToString())
            batch = pb.FileEntries()
    sink.write(batch.SerializeToString())


def file_stat(found: os.stat_result, link_target: bytes = b"", resolved: bytes = b"") -> pb.FileStat:
    return pb.FileStat(
        exists=True,
        mode=found.st_mode,
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        link_target=link_target,
        resolved=resolved,
    )


# ---------------------------------------------------------------- changes


def make_directory(path: bytes, *, mode: int, parents: bool, exist_ok: bool) -> None:
    """Make a directory; with `parents` those above it too (0755)."""
    plain = path.rstrip(b"/") or b"/"
    if parents:
        os.makedirs(os.path.dirname(plain), mode=0o755, exist_ok=True)
    try:
        os.mkdir(plain, mode)
    except FileExistsError:
        if not (exist_ok and os.path.isdir(plain)):
            raise


def remove(path: bytes, *, recursive: bool, missing_ok: bool) -> None:
    """Remove a file, a link (not what it leads to), an empty directory, or with `recursive` a directory with everything
    below it."""
    plain = path.rstrip(b"/")
    if os.path.normpath(plain or b"/") in (b"/", b"//"):
        raise OSError(errno.EBUSY, "the root directory cannot be removed", b"/")
    try:
        if not stat.S_ISDIR(os.lstat(plain).st_mode):
            os.unlink(plain)
        elif recursive:
            shutil.rmtree(plain)
        else:
            os.rmdir(plain)
    except FileNotFoundError:
        if not missing_ok:
            raise


def rename(path: bytes, target: bytes, *, overwrite: bool) -> None:
    """Give a file or directory another place in the same file system (rename(2); renameat2(2) where nothing may be there)."""
    if overwrite:
        os.rename(path, target)
        return
    if _libc.renameat2(_AT_FDCWD, path, _AT_FDCWD, target, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        if number == errno.EINVAL and not os.path.lexists(target):  # 9p knows no flags
            os.rename(path, target)
            return
        raise OSError(errno.EEXIST if number == errno.EINVAL else number, os.strerror(number), target)


def change_mode(path: bytes, mode: int, *, recursive: bool) -> None:
    """Set permission bits; what is below a directory too with `recursive`, links left alone."""
    os.chmod(path, mode)
    for below in _below(path) if recursive else ():
        if not os.path.islink(below):
            os.chmod(below, mode)


def change_owner(path: bytes, uid: int, gid: int, *, recursive: bool) -> None:
    """Set user and group, of a link's target for `path`, of links themselves below it."""
    os.chown(path, uid, gid)
    for below in _below(path) if recursive else ():
        os.chown(below, uid, gid, follow_symlinks=False)


def _below(path: bytes) -> Iterator[bytes]:
    for directory, directories, files in os.walk(path, onerror=_raise):
        for name in (*directories, *files):
            yield os.path.join(directory, name)


def _raise(error: OSError) -> None:
    raise error
