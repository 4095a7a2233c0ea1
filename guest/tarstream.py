"""Tar streams into and out of a directory tree, as the process that calls sees it.

Called in a process of its own that has entered the container (see guest.files): whatever links the tree or the archive
holds lead nowhere else than into the container.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_XATTR_PREFIX = "SCHILY.xattr."
_BUFFER_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How to extract; `owner` None: the one each entry names. See UploadHeader."""

    make_parents: bool = False
    overwrite: bool = True
    no_dir_overwrite: bool = False
    owner: tuple[int, int] | None = None


def extract_tar(source: IO[bytes], directory: bytes, options: ExtractOptions) -> tuple[int, int]:
    """Extract a tar stream in `directory`; return how many entries and how many bytes of files. Raises OSError."""
    top = os.fsdecode(directory)
    is_new = not os.path.isdir(top)
    if options.make_parents:
        os.makedirs(directory, exist_ok=True)
    if not os.path.isdir(top):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), top)
    entries = size_bytes = 0
    directories: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=source, mode="r|", bufsize=_BUFFER_BYTES, errorlevel=2) as archive:
            archive.copybufsize = _BUFFER_BYTES  # type: ignore[attr-defined]
            for member in archive:
                target = _target(top, member)
                entries += 1
                if os.path.normpath(member.name) == "." and not is_new:
                    continue  # a directory that was there keeps its mode and owner
                if options.owner is not None:
                    member.uid, member.gid = options.owner
                _make_room(target, member, options)
                if member.isreg() and os.path.lexists(target):
                    _write_through(archive, member, target)
                    size_bytes += member.size
                    continue
                archive.extract(member, top, numeric_owner=True, filter="fully_trusted")
                _restore_xattrs(target, member)
                if member.isdir():
                    directories.append((target, member))
                size_bytes += member.size if member.isreg() else 0
    except tarfile.TarError as error:
        raise OSError(errno.EINVAL, f"not a tar stream: {error}") from error
    for target, member in reversed(directories):
        os.utime(target, (member.mtime, member.mtime))
    return entries, size_bytes


def _target(top: str, member: tarfile.TarInfo) -> str:
    """Where an entry goes. Its name must stay below the directory by itself; links in it are the tree's own."""
    member.name = member.name.lstrip("/")
    if ".." in member.name.split("/"):
        raise OSError(errno.EINVAL, "the entry's name leads out of the directory", member.name)
    if member.islnk():
        member.linkname = member.linkname.lstrip("/")
    return os.path.join(top, member.name)


def _make_room(target: str, member: tarfile.TarInfo, options: ExtractOptions) -> None:
    """Take away what is in an entry's place, if the options allow it."""
    try:
        there = os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        return
    is_directory = stat.S_ISDIR(there.st_mode)
    if is_directory and member.isdir():
        return
    if member.isdir() and os.path.isdir(target) and not options.no_dir_overwrite:
        return
    if options.no_dir_overwrite and is_directory != member.isdir():
        kind = "directory with a non-directory" if is_directory else "non-directory with a directory"
        raise OSError(errno.EISDIR if is_directory else errno.ENOTDIR, f"cannot overwrite a {kind}", target)
    if not options.overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    if is_directory:
        shutil.rmtree(target)
    else:
        try:
            os.unlink(target)
        except OSError as error:
            if error.errno != errno.EBUSY or not member.isreg():
                raise


def _write_through(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    """New content for a file that is a mount of its own (/etc/hosts): it keeps its owner and mode."""
    content = archive.extractfile(member)
    assert content is not None
    with open(target, "wb") as file:
        shutil.copyfileobj(content, file, _BUFFER_BYTES)


def _restore_xattrs(target: str, member: tarfile.TarInfo) -> None:
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR_PREFIX):
            name = key.removeprefix(_XATTR_PREFIX)
            os.setxattr(target, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)


def write_tar(sink: IO[bytes], path: bytes, name: bytes) -> None:
    """Write a tar stream of `path` (not followed when it is a link), its top entry called `name`. Raises OSError."""
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.copybufsize = _BUFFER_BYTES  # type: ignore[attr-defined]
        for file_path, entry_name in _walk(os.fsdecode(path), os.fsdecode(name)):
            member = archive.gettarinfo(file_path, entry_name)
            if member is None:  # a socket: tar has no entry for it
                continue
            _keep_xattrs(file_path, member)
            if member.isreg():
                with open(file_path, "rb") as file:
                    archive.addfile(member, file)
            else:
                archive.addfile(member)
            archive.members = []  # type: ignore[attr-defined]  # it would keep every entry


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    """A tree from its top down, names sorted, as (path, name in the archive)."""
    yield path, name
    if not os.path.isdir(path) or os.path.islink(path):
        return
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{name}/{entry.name}")
        else:
            yield entry.path, f"{name}/{entry.name}"


def _keep_xattrs(path: str, member: tarfile.TarInfo) -> None:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return
    headers = dict(member.pax_headers)
    for name in names:
        value = os.getxattr(path, name, follow_symlinks=False)
        headers[_XATTR_PREFIX + name] = value.decode("utf-8", "surrogateescape")
    member.pax_headers = headers
