"""Files of the host as a tar stream."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from engine.fsutil import storage_error

if TYPE_CHECKING:
    import tarfile

    from engine.runtime.bridge import BridgeWriter

COPY_BYTES = 256 * 1024
_XATTR_PREFIX = "SCHILY.xattr."


def pack(
    sink: BridgeWriter, path: str, name: str, *, with_top: bool, on_bytes: Callable[[int], None]
) -> None:
    """Write `path` (a link is not followed) and what is below it, the top entry called `name`; without that entry
    unless `with_top`. Sockets are left out. Raises members of BoxliteError only, except BrokenPipeError from `sink`."""
    import tarfile

    written = 0
    try:
        with tarfile.open(
            fileobj=sink, mode="w", format=tarfile.PAX_FORMAT, copybufsize=COPY_BYTES
        ) as archive:  # type: ignore[call-overload]
            for place, (file_path, entry_name) in enumerate(_walk(path, name)):
                if place == 0 and not with_top:
                    continue
                member = archive.gettarinfo(file_path, entry_name)
                if member is None:  # a socket: tar has no entry for it
                    continue
                _keep_attributes(file_path, member)
                if member.isreg():
                    with open(file_path, "rb") as file:
                        archive.addfile(member, _Counted(file, on_bytes, written))
                    written += member.size
                else:
                    archive.addfile(member)
                archive.members = []  # it would keep every entry
        sink.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise storage_error(error, "copying") from error


class _Counted:
    """A file that tells how far it has been read."""

    def __init__(self, file: BinaryIO, on_bytes: Callable[[int], None], before: int) -> None:
        self._file = file
        self._on_bytes = on_bytes
        self._read = before

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._read += len(chunk)
        self._on_bytes(self._read)
        return chunk


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    """A tree from its top down, names sorted, as (path, name in the archive)."""
    yield path, name
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{name}/{entry.name}")
        else:
            yield entry.path, f"{name}/{entry.name}"


def _keep_attributes(path: str, member: tarfile.TarInfo) -> None:
    try:
        names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.")]
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return
    member.pax_headers = {
        _XATTR_PREFIX + name: os.getxattr(path, name, follow_symlinks=False).decode(
            "utf-8", "surrogateescape"
        )
        for name in names
    }
