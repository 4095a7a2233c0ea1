"""A tar stream into a directory tree, as the process that calls sees it.

Called in a process of its own that has entered the container (see guest.files): whatever links the tree or the archive
holds lead nowhere else than into the container.

What is in a file's place stays whole until the new one is. A new file has no name before its content is there (open(2),
O_TMPFILE), so that a copy that is broken off leaves no part of one, even when it is killed; small ones are made at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from typing import Any

from guest.wire import tar
from guest.wire.tar import Entry, TarError
from guest.wire.tarpack import attributes_of_users
from guest.wire.tarread import Source, TarReader

_SMALL_BYTES = 64 * 1024
_AT_EMPTY_PATH = 0x1000
_NEW_DIRECTORY_MODE = 0o755
_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED_NOT_HERE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
_NOT_KEPT_HERE = (errno.ENOTSUP, errno.EPERM, errno.EINVAL)

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How to extract; `owner` None: the one each entry names, with every attribute. `owner_for_all`: where others than root own
    an entry, everybody may do what its owner may. See UploadHeader."""

    make_parents: bool = False
    overwrite: bool = True
    no_dir_overwrite: bool = False
    owner: tuple[int, int] | None = None
    owner_for_all: bool = False


def extract_tar(source: Source, directory: bytes, options: ExtractOptions) -> tuple[int, int]:
    """Extract a tar stream in `directory`; return how many entries and how many bytes of files. Raises OSError."""
    extraction = _Extraction(directory, options)
    reader = TarReader(source)
    try:
        for entry in reader:
            extraction.take(reader, entry)
    except TarError as error:
        raise OSError(errno.EINVAL, f"not a tar stream: {error}") from error
    finally:
        extraction.close()
    extraction.finish_directories()
    return extraction.entries, extraction.size_bytes


class _Extraction:
    """One stream's way into one directory. The directory of the entry before is kept open: the next one is often in it too."""

    def __init__(self, top: bytes, options: ExtractOptions) -> None:
        self.entries = self.size_bytes = 0
        self._top = top.rstrip(b"/") or b"/"
        self._options = options
        self._directories: list[tuple[bytes, Entry]] = []
        self._parent: bytes | None = None
        self._parent_fd = -1
        self._is_new = not os.path.isdir(top)
        if self._is_new and options.make_parents:
            self._make_directories(self._top)
        if not os.path.isdir(top):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), top)

    def take(self, reader: TarReader, entry: Entry) -> None:
        """Make one entry. Raises OSError that names its path."""
        self.entries += 1
        parts = self._parts(entry.path)
        if self._options.owner_for_all and entry.uid != 0:
            entry.mode |= (entry.mode & 0o700) >> 3 | (entry.mode & 0o700) >> 6
        if self._options.owner is not None:
            entry.uid, entry.gid = self._options.owner
        if not parts:
            if self._is_new and entry.is_directory:  # one that was there keeps its mode and owner
                self._directories.append((self._top, entry))
            return
        path = os.path.join(self._top, *parts)
        try:
            self._enter(os.path.dirname(path))
            self._make(reader, entry, parts[-1], path)
        except OSError as error:
            error.filename, error.filename2 = path, None
            raise

    def finish_directories(self) -> None:
        """Owners, modes and times of directories, which whatever is made in them would change."""
        for path, entry in reversed(self._directories):
            _set_owner(path, entry)
            os.chmod(path, entry.mode)
            self._set_attributes(path, entry)
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))

    def close(self) -> None:
        if self._parent_fd >= 0:
            os.close(self._parent_fd)
            self._parent_fd, self._parent = -1, None

    # ------------------------------------------------------------ places

    @staticmethod
    def _parts(path: bytes) -> list[bytes]:
        """A path's components. It must stay below the directory by itself; links in it are the tree's own."""
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise OSError(errno.EINVAL, "the entry's name leads out of the directory", path)
        return parts

    def _enter(self, parent: bytes) -> None:
        if parent == self._parent:
            return
        self.close()
        try:
            self._parent_fd = os.open(parent, _PARENT)
        except FileNotFoundError:
            self._make_directories(parent)
            self._parent_fd = os.open(parent, _PARENT)
        self._parent = parent

    def _make_directories(self, path: bytes) -> None:
        """Directories that no entry describes: with an owner like all the rest."""
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for below in reversed(missing):
            try:
                os.mkdir(below, _NEW_DIRECTORY_MODE)
            except FileExistsError:  # a file, which the caller will find; or `new/.`
                continue
            if self._options.owner is not None:
                uid, gid = self._options.owner
                _set_owner(below, Entry(path=below, uid=uid, gid=gid))

    def _make_room(self, name: bytes, entry: Entry) -> bool:
        """Check that an entry may take a place; whether something is there that it then replaces."""
        options = self._options
        try:
            there = os.lstat(name, dir_fd=self._parent_fd)
        except FileNotFoundError:
            return False
        is_directory = stat.S_ISDIR(there.st_mode)
        if options.no_dir_overwrite and is_directory != entry.is_directory:
            kind = "directory with a non-directory" if is_directory else "non-directory with a directory"
            raise OSError(errno.EISDIR if is_directory else errno.ENOTDIR, f"cannot overwrite a {kind}")
        if not options.overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if is_directory:
            self._parent, parent = None, self._parent or self._top
            shutil.rmtree(os.path.join(parent, name))
            return False
        return True

    # ------------------------------------------------------------ entries

    def _make(self, reader: TarReader, entry: Entry, name: bytes, path: bytes) -> None:
        if entry.is_directory:
            self._make_directory(entry, name, path)
        elif entry.is_file:
            self._make_file(reader, entry, name)
            self.size_bytes += entry.size
        elif self._make_room(name, entry):
            temporary = _temporary_name()
            self._make_special(entry, temporary)
            self._rename(temporary, name)
        else:
            self._make_special(entry, name)

    def _make_directory(self, entry: Entry, name: bytes, path: bytes) -> None:
        try:
            os.mkdir(name, _NEW_DIRECTORY_MODE, dir_fd=self._parent_fd)
        except FileExistsError:
            follows = not self._options.no_dir_overwrite
            there = os.stat(name, dir_fd=self._parent_fd, follow_symlinks=follows)
            if not stat.S_ISDIR(there.st_mode):
                if self._make_room(name, entry):
                    os.unlink(name, dir_fd=self._parent_fd)
                os.mkdir(name, _NEW_DIRECTORY_MODE, dir_fd=self._parent_fd)
        self._directories.append((path, entry))

    def _make_special(self, entry: Entry, name: bytes) -> None:
        parent_fd = self._parent_fd
        if entry.kind == tar.HARDLINK:
            first = os.path.join(self._top, *self._parts(entry.link))
            os.link(first, name, dst_dir_fd=parent_fd, follow_symlinks=False)
            return
        if entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent_fd)
        elif entry.kind == tar.FIFO:
            os.mkfifo(name, entry.mode, dir_fd=parent_fd)
        elif entry.kind in (tar.CHARACTER, tar.BLOCK):
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
            os.mknod(name, entry.mode | kind, os.makedev(entry.major, entry.minor), dir_fd=parent_fd)
        else:
            raise OSError(errno.EINVAL, f"an entry of the unknown kind {entry.kind!r}")
        _set_owner(name, entry, dir_fd=parent_fd, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent_fd)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent_fd, follow_symlinks=False)

    def _make_file(self, reader: TarReader, entry: Entry, name: bytes) -> None:
        if entry.regions is None and entry.size <= _SMALL_BYTES:
            content = reader.whole()
            try:
                fd = os.open(name, _NEW, entry.mode & 0o777, dir_fd=self._parent_fd)
            except FileExistsError:
                self._replace(None, content, entry, name)
                return
            try:
                self._write_small(fd, content, entry)
            except BaseException:
                os.unlink(name, dir_fd=self._parent_fd)
                raise
            finally:
                os.close(fd)
        elif self._make_room(name, entry):
            self._replace(reader, b"", entry, name)
        else:
            self._make_large(reader, entry, name)

    def _write_small(self, fd: int, content: bytes, entry: Entry) -> None:
        if content and os.write(fd, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._finish(fd, entry)

    def _make_large(self, reader: TarReader, entry: Entry, name: bytes) -> None:
        try:
            fd = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=self._parent_fd)
        except OSError as error:
            if error.errno not in _UNNAMED_NOT_HERE:
                raise
            self._replace(reader, b"", entry, name)
            return
        try:
            reader.copy_to(fd, entry)
            self._finish(fd, entry)
            if _libc.linkat(fd, b"", self._parent_fd, name, _AT_EMPTY_PATH) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(fd)

    def _replace(self, reader: TarReader | None, content: bytes, entry: Entry, name: bytes) -> None:
        """A new file under a name of its own, then renamed to where another one may be."""
        self._make_room(name, entry)
        temporary = _temporary_name()
        fd = os.open(temporary, _NEW, 0o600, dir_fd=self._parent_fd)
        try:
            if reader is None:
                self._write_small(fd, content, entry)
            else:
                reader.copy_to(fd, entry)
                self._finish(fd, entry)
            self._rename(temporary, name)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._parent_fd)
            raise
        finally:
            os.close(fd)

    def _rename(self, temporary: bytes, name: bytes) -> None:
        parent_fd = self._parent_fd
        try:
            os.rename(temporary, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        except OSError as error:
            if error.errno != errno.EBUSY or not stat.S_ISREG(os.lstat(temporary, dir_fd=parent_fd).st_mode):
                os.unlink(temporary, dir_fd=parent_fd)
                raise
            # A mount of its own (/etc/hosts) cannot be replaced: it gets the content, and keeps its owner and mode.
            with (
                open(os.open(temporary, os.O_RDONLY | os.O_CLOEXEC, dir_fd=parent_fd), "rb") as written,
                open(os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, dir_fd=parent_fd), "wb") as place,
            ):
                shutil.copyfileobj(written, place)
            os.unlink(temporary, dir_fd=parent_fd)

    def _finish(self, fd: int, entry: Entry) -> None:
        """Owner, mode, attributes and times, in the order in which one does not undo the other (chown(2) clears set-id bits and
        capabilities)."""
        _set_owner(fd, entry)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_attributes(fd, entry)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _set_attributes(self, file: int | bytes, entry: Entry) -> None:
        """What the target cannot hold is left out."""
        for key, value in entry.xattrs:
            name = os.fsdecode(key)
            if self._options.owner is None or attributes_of_users(name):
                try:
                    os.setxattr(file, name, value)
                except OSError as error:
                    if error.errno not in _NOT_KEPT_HERE:
                        raise


def _set_owner(file: int | bytes, entry: Entry, **how: Any) -> None:
    """Root is refused this only in a volume or bind, whose files have one owner for all (EINVAL where they are shown under
    other ids than the host's: chown(2) of an idmapped mount)."""
    try:
        os.chown(file, entry.uid, entry.gid, **how)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise


def _temporary_name() -> bytes:
    return b".%s.boxlite" % secrets.token_hex(8).encode()
