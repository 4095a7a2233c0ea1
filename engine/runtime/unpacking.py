"""A tar stream from a box, extracted on the host as if the box were hostile, for it may be.

Every entry is reached through directories opened one by one without following links (openat(2), O_NOFOLLOW), so nothing
that the stream, or somebody who races with us, puts in a path leads out of the destination. A file is written
under a name of its own and renamed into place: what was there stays whole until then, and is never written through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import (
    AlreadyExistsError,
    DeniedError,
    InvalidArgumentError,
    PortalError,
    UnsupportedError,
)
from engine.fsutil import storage_error
from engine.runtime.tar_entries import MAX_PATH_LENGTH, Attributes, check_entry, checked_entries, parsing
from engine.shown import printable

if TYPE_CHECKING:
    import tarfile

COPY_BYTES = 256 * 1024
MAX_PADDING_BYTES = 1024 * 1024
"""What may follow the end of an archive: tar fills up to its block size, usually 10 KiB."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What an extraction made."""

    entries: int
    size_bytes: int


class Unpacker:
    """Extracts one stream below the directory `top_fd`, whose top entry must be called `wire_name` and is called
    `name` here (empty: the directory itself). `on_bytes` hears how many bytes of files are there so far."""

    def __init__(
        self,
        top_fd: int,
        *,
        wire_name: str,
        name: str,
        overwrite: bool,
        keep_owner: bool,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._top_fd = top_fd
        self._wire_name = wire_name
        self._name = name
        self._overwrite = overwrite
        self._keep_owner = keep_owner and os.geteuid() == 0
        self._mode_mask = 0o7777 if keep_owner else 0o777
        self._on_bytes = on_bytes
        self._directories: list[tuple[tuple[str, ...], Attributes]] = []
        self._size_bytes = 0

    def unpack(self, source: Any) -> Unpacked:
        """Extract everything. Raises members of BoxliteError only, except BrokenPipeError from `source`."""
        import tarfile

        entries = 0
        try:
            with parsing():
                archive = tarfile.open(  # noqa: SIM115  closed below
                    fileobj=source, mode="r|", bufsize=COPY_BYTES, tarinfo=checked_entries(), errorlevel=2
                )
            with archive:
                while (member := _next(archive)) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # it would keep every entry
                    self._unpack_entry(archive, member)
                    entries += 1
            self._drain(source)
            for parts, attributes in reversed(self._directories):
                self._finish_directory(parts, attributes)
        except tarfile.TarError as error:
            raise PortalError(f"the box did not send a tar stream: {error}") from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise storage_error(error, "copying to") from error
        return Unpacked(entries=entries, size_bytes=self._size_bytes)

    @staticmethod
    def _drain(source: Any) -> None:
        """Read the padding; the box's own report of success comes after it."""
        left = MAX_PADDING_BYTES
        while chunk := source.read(COPY_BYTES):
            left -= len(chunk)
            if left < 0:
                raise PortalError("the box sent more after the end of the archive")

    def _unpack_entry(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = self._place(member.name)
        if not parts:
            if not member.isdir():
                raise InvalidArgumentError("the source is not a directory")
            return  # the destination itself, which is there
        shown = _shown(member.name)
        check_entry(member, shown)
        try:
            with self._parent(parts) as parent_fd:
                self._make(archive, member, parent_fd, parts)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise DeniedError(
                    f"{shown}: a directory on the way to it is a symbolic link on the host, which is not followed"
                ) from error
            error.filename = shown
            raise

    def _place(self, name: str) -> tuple[str, ...]:
        """Where an entry goes, as components below the top."""
        if len(name) > MAX_PATH_LENGTH:
            raise DeniedError(f"the box sent a path of {len(name)} characters: {_shown(name[:100])}…")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if ".." in parts or "\0" in name or name.startswith("/"):
            raise DeniedError(f"the box sent an entry that leads out of the destination: {_shown(name)}")
        if self._wire_name:
            if parts[:1] != (self._wire_name,):
                raise DeniedError(f"the box sent an entry nobody asked for: {_shown(name)}")
            parts = parts[1:]
        return (self._name, *parts) if self._name else parts

    @contextlib.contextmanager
    def _parent(self, parts: tuple[str, ...]) -> Iterator[int]:
        fd = os.dup(self._top_fd)
        try:
            for part in parts[:-1]:
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
            yield fd
        finally:
            os.close(fd)

    def _make(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent_fd: int, parts: tuple[str, ...]
    ) -> None:
        name, shown = parts[-1], _shown("/".join(parts))
        there = _mode_of(name, parent_fd)
        if member.isdir():
            if there is None:
                os.mkdir(name, 0o700, dir_fd=parent_fd)
                self._directories.append((parts, Attributes.of(member)))
            elif not stat.S_ISDIR(there):
                raise InvalidArgumentError(f"{shown}: a directory does not replace what is not one")
            return  # one that was there keeps its mode and owner
        if there is not None and stat.S_ISDIR(there):
            raise InvalidArgumentError(f"{shown}: only a directory replaces a directory")
        if there is not None and not self._overwrite:
            raise AlreadyExistsError(f"{shown} is there already")
        temporary = f".{secrets.token_hex(8)}.boxlite"
        try:
            self._make_in_place(archive, member, parent_fd, temporary, shown)
            os.rename(temporary, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent_fd)
            raise

    def _make_in_place(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent_fd: int, name: str, shown: str
    ) -> None:
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent_fd)
            if self._keep_owner:
                os.chown(name, member.uid, member.gid, dir_fd=parent_fd, follow_symlinks=False)
            os.utime(name, (member.mtime, member.mtime), dir_fd=parent_fd, follow_symlinks=False)
        elif member.islnk():
            other = self._place(member.linkname)
            with self._parent(other) as other_fd:
                os.link(other[-1], name, src_dir_fd=other_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
        elif member.isfifo():
            os.mkfifo(name, member.mode & 0o777, dir_fd=parent_fd)
        elif member.isreg() and not member.issparse():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=parent_fd)
            try:
                self._write(fd, archive, member)
                self._finish(fd, Attributes.of(member))
            finally:
                os.close(fd)
        else:
            raise UnsupportedError(
                f"{shown} is a device, or of a kind unknown here: not made on the host",
                hint="copy what is beside it, or write a tar archive: boxlite cp BOX:PATH -",
            )

    def _write(self, fd: int, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        file = archive.extractfile(member)
        assert file is not None
        left = member.size
        while left:
            chunk = file.read(min(left, COPY_BYTES))
            if not chunk:
                raise PortalError("the stream from the box ended early")
            view = memoryview(chunk)
            while view:
                view = view[os.write(fd, view) :]
            left -= len(chunk)
            self._size_bytes += len(chunk)
            self._on_bytes(self._size_bytes)

    def _finish_directory(self, parts: tuple[str, ...], attributes: Attributes) -> None:
        with self._parent(parts) as parent_fd:
            fd = os.open(parts[-1], _DIRECTORY, dir_fd=parent_fd)
            try:
                self._finish(fd, attributes)
            finally:
                os.close(fd)

    def _finish(self, fd: int, attributes: Attributes) -> None:
        """Owner, mode, user attributes and times of a file or directory of ours that is open."""
        if self._keep_owner:
            os.fchown(fd, attributes.uid, attributes.gid)
        os.fchmod(fd, attributes.mode & self._mode_mask)
        for key, value in attributes.xattrs:
            try:
                os.setxattr(fd, key, value)
            except OSError as error:
                if error.errno != errno.ENOTSUP:  # what the target cannot hold is left out
                    raise
        os.utime(fd, (attributes.mtime, attributes.mtime))


def _next(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    with parsing():
        return archive.next()


def _mode_of(name: str, parent_fd: int) -> int | None:
    try:
        return os.lstat(name, dir_fd=parent_fd).st_mode
    except FileNotFoundError:
        return None


def _shown(name: str) -> str:
    """A name from the box as it may be shown."""
    return printable(name, 500)
