"""A tar stream from a box, extracted on the host as if the box were hostile, for it may be.

Every entry is reached through directories opened one by one without following links (openat(2), O_NOFOLLOW), so nothing
that the stream, or somebody who races with us, puts in a path leads out of the destination. A file is written
without a name, or under one of its own, and then put into its place: what was there stays whole until then, and is never
written through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable

from engine.errors import (
    AlreadyExistsError,
    DeniedError,
    InvalidArgumentError,
    PortalError,
    UnsupportedError,
)
from engine.fsutil import storage_error
from engine.shown import printable
from engine.values import dataclass
from guest.wire import tar
from guest.wire.tar import Entry, TarError
from guest.wire.tarpack import attributes_of_users
from guest.wire.tarread import Source, TarReader

MAX_PADDING_BYTES = 1024 * 1024
"""What may follow the end of an archive: tar fills up to its block size, usually 10 KiB."""
MAX_PATH_LENGTH = 4096
"""PATH_MAX (limits.h): nothing in the box can be called by a longer one."""
_SMALL_BYTES = 64 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_KEPT_HERE = (errno.ENOTSUP, errno.EPERM, errno.EINVAL)
_UNNAMED: int = getattr(os, "O_TMPFILE", 0)
_Parts = tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What an extraction made."""

    entries: int
    size_bytes: int


class Unpacker:
    """Extracts one stream below the directory `top_fd`, whose top entry must be called `wire_name` and is called
    `name` here (empty: the directory itself). `on_bytes` hears how many bytes of files are there so far; `place` is how
    messages call the directory."""

    def __init__(
        self,
        top_fd: int,
        *,
        wire_name: str,
        name: str,
        overwrite: bool,
        keep_owner: bool,
        on_bytes: Callable[[int], None],
        place: str = "",
    ) -> None:
        self._top_fd = top_fd
        self._shown_place = os.fsencode(place)
        self._wire_name = os.fsencode(wire_name)
        self._name = os.fsencode(name)
        self._overwrite = overwrite
        self._keep_owner = keep_owner and os.geteuid() == 0
        self._keep_rights = keep_owner
        self._mode_mask = 0o7777 if keep_owner else 0o777
        self._on_bytes = on_bytes
        self._directories: list[tuple[_Parts, Entry]] = []
        self._parent: _Parts | None = None
        self._parent_fd = -1
        self._size_bytes = 0

    def unpack(self, source: Source) -> Unpacked:
        """Extract everything. Raises members of BoxliteError only, except BrokenPipeError from `source`."""
        entries = 0
        reader = TarReader(source)
        try:
            for entry in reader:
                self._unpack_entry(reader, entry)
                entries += 1
            reader.rest(MAX_PADDING_BYTES)  # the box's own report of success comes after it
            for parts, entry in reversed(self._directories):
                self._finish_directory(parts, entry)
        except TarError as error:
            raise PortalError(f"the box did not send a tar stream: {error}") from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise storage_error(error, "copying to") from error
        finally:
            self._leave()
        return Unpacked(entries=entries, size_bytes=self._size_bytes)

    def _unpack_entry(self, reader: TarReader, entry: Entry) -> None:
        parts = self._place(entry.path)
        if not parts:
            if not entry.is_directory:
                raise InvalidArgumentError("the source is not a directory")
            return  # the destination itself, which is there
        if len(entry.link) > MAX_PATH_LENGTH:
            raise PortalError(f"the box sent a link that leads nowhere: {_shown(entry.path)}")
        try:
            self._enter(parts[:-1])
            self._make(reader, entry, parts)
        except OSError as error:
            shown = _shown(os.path.join(self._shown_place, *parts))  # noqa: PTH118  bytes
            if error.errno == errno.ELOOP:
                raise DeniedError(
                    f"{shown}: a directory on the way to it is a symbolic link on the host, which is not followed"
                ) from error
            error.filename, error.filename2 = shown, None
            raise

    def _place(self, name: bytes) -> _Parts:
        """Where an entry goes, as components below the top."""
        if len(name) > MAX_PATH_LENGTH:
            raise DeniedError(f"the box sent a path of {len(name)} characters: {_shown(name[:100])}…")
        parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
        if b".." in parts or name.startswith(b"/"):
            raise DeniedError(f"the box sent an entry that leads out of the destination: {_shown(name)}")
        if self._wire_name:
            if parts[:1] != (self._wire_name,):
                raise DeniedError(f"the box sent an entry nobody asked for: {_shown(name)}")
            parts = parts[1:]
        return (self._name, *parts) if self._name else parts

    # ------------------------------------------------------------ directories

    def _enter(self, parent: _Parts) -> None:
        """Open an entry's directory, unless it is that of the entry before."""
        if parent != self._parent:
            self._leave()
            self._parent_fd = self._open(parent)
            self._parent = parent

    def _leave(self) -> None:
        if self._parent_fd >= 0:
            os.close(self._parent_fd)
        self._parent_fd, self._parent = -1, None

    def _open(self, parts: _Parts) -> int:
        """A directory below the top, by one component after the other, no link followed; made where it is missing."""
        fd = os.dup(self._top_fd)
        try:
            for part in parts:
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    os.mkdir(part, 0o777, dir_fd=fd)
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                except NotADirectoryError:
                    if stat.S_ISLNK(os.lstat(part, dir_fd=fd).st_mode):
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
                    raise
                os.close(fd)
                fd = below
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _finish_directory(self, parts: _Parts, entry: Entry) -> None:
        fd = self._open(parts)
        try:
            self._finish(fd, entry)
        finally:
            os.close(fd)

    # ------------------------------------------------------------ entries

    def _make(self, reader: TarReader, entry: Entry, parts: _Parts) -> None:
        name, parent_fd = parts[-1], self._parent_fd
        if (
            entry.is_file
            and entry.regions is None
            and entry.size <= _SMALL_BYTES
            and self._make_small(reader, entry, name)
        ):
            return
        there = _mode_of(name, parent_fd)
        if entry.is_directory:
            if there is None:
                os.mkdir(name, 0o700, dir_fd=parent_fd)
                self._directories.append((parts, entry))
            elif not stat.S_ISDIR(there):
                raise InvalidArgumentError(
                    f"{_shown_parts(parts)}: a directory does not replace what is not one"
                )
            return  # one that was there keeps its mode and owner
        if there is not None and stat.S_ISDIR(there):
            raise InvalidArgumentError(f"{_shown_parts(parts)}: only a directory replaces a directory")
        if there is not None and not self._overwrite:
            raise AlreadyExistsError(f"{_shown_parts(parts)} is there already")
        if entry.is_file and there is None and self._make_unnamed(reader, entry, name):
            return
        temporary = b".%s.boxlite" % secrets.token_hex(8).encode()
        try:
            self._make_in_place(reader, entry, temporary, parts)
            os.rename(temporary, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent_fd)
            raise

    def _make_small(self, reader: TarReader, entry: Entry, name: bytes) -> bool:
        """A small file where nothing is, in one go; False when something is there."""
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=self._parent_fd)
        except FileExistsError:
            return False
        try:
            self._write(fd, reader, entry)
        except BaseException:
            os.unlink(name, dir_fd=self._parent_fd)
            raise
        finally:
            os.close(fd)
        return True

    def _make_unnamed(self, reader: TarReader, entry: Entry, name: bytes) -> bool:
        """A large file that has no name before all of it has come, so that nothing of it is left when we are killed (open(2),
        O_TMPFILE); False on file systems that have no such files."""
        if not _UNNAMED:
            return False
        try:
            fd = os.open(b".", _UNNAMED | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=self._parent_fd)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                return False
            raise
        try:
            self._write(fd, reader, entry)
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=self._parent_fd, follow_symlinks=True)
        finally:
            os.close(fd)
        return True

    def _make_in_place(self, reader: TarReader, entry: Entry, name: bytes, parts: _Parts) -> None:
        parent_fd = self._parent_fd
        if entry.is_file:
            fd = os.open(name, _NEW, 0o600, dir_fd=parent_fd)
            try:
                self._write(fd, reader, entry)
            finally:
                os.close(fd)
        elif entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent_fd)
            if self._keep_owner:
                os.chown(name, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent_fd, follow_symlinks=False)
        elif entry.kind == tar.HARDLINK:
            first = self._place(entry.link)
            other_fd = self._open(first[:-1])
            try:
                os.link(first[-1], name, src_dir_fd=other_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
            finally:
                os.close(other_fd)
        elif entry.kind == tar.FIFO:
            os.mkfifo(name, entry.mode & 0o777, dir_fd=parent_fd)
        else:
            raise UnsupportedError(
                f"{_shown_parts(parts)} is a device, or of a kind unknown here: not made on the host",
                hint="copy what is beside it, or write a tar archive: boxlite cp BOX:PATH -",
            )

    def _write(self, fd: int, reader: TarReader, entry: Entry) -> None:
        reader.copy_to(fd, entry, self._took)
        self._finish(fd, entry)

    def _took(self, count: int) -> None:
        self._size_bytes += count
        self._on_bytes(self._size_bytes)

    def _finish(self, fd: int, entry: Entry) -> None:
        """Owner, mode, attributes and times of a file or directory of ours that is open. Owners come first: chown(2) clears
        set-id bits and capabilities. What the target cannot hold is left out."""
        if self._keep_owner:
            os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode & self._mode_mask)
        for key, value in entry.xattrs:
            attribute = os.fsdecode(key)
            if self._keep_rights or attributes_of_users(attribute):
                try:
                    os.setxattr(fd, attribute, value)
                except OSError as error:
                    if error.errno not in _NOT_KEPT_HERE:
                        raise
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _mode_of(name: bytes, parent_fd: int) -> int | None:
    try:
        return os.lstat(name, dir_fd=parent_fd).st_mode
    except FileNotFoundError:
        return None


def _shown(name: bytes) -> str:
    """A name from the box as it may be shown."""
    return printable(os.fsdecode(name), 500)


def _shown_parts(parts: _Parts) -> str:
    return _shown(b"/".join(parts))
