"""Going down from a directory without following a link on the way, whatever somebody does to it meanwhile.

Every step is made from the descriptor of the directory before (openat(2), O_NOFOLLOW), so that one that is swapped for a
link between two looks at it leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from engine.errors import BoxliteError, StorageError
from engine.fsutil import storage_error

_STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHANGED = (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EINVAL, errno.ENXIO)
_MAX_OPEN = 128
"""Directories held open on the way down; of a deeper way the upper ones are opened again when they are needed."""


class Descent:
    """Below `top`, whose own path may lead over links. Paths are relative to it."""

    def __init__(self, top: Path) -> None:
        self._top_path = top
        self._top = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._trail: list[tuple[bytes, int]] = []

    def close(self) -> None:
        while self._trail:
            os.close(self._trail.pop()[1])
        os.close(self._top)

    def directory(self, path: bytes) -> int:
        """A descriptor of the directory, good until the next call. Raises StorageError when it is none any more."""
        while self._trail and not (path + b"/").startswith(self._trail[-1][0] + b"/"):
            os.close(self._trail.pop()[1])
        reached, here = self._trail[-1] if self._trail else (b"", self._top)
        for name in path[len(reached) :].split(b"/"):
            if not name:
                continue
            reached = reached + b"/" + name if reached else name
            try:
                here = os.open(name, _STEP, dir_fd=here)
            except OSError as error:
                raise self.failure(reached, error) from error
            self._trail.append((reached, here))
            if len(self._trail) > _MAX_OPEN:
                os.close(self._trail.pop(0)[1])
        return here

    def open_file(self, path: bytes) -> int:
        """A descriptor that reads the regular file there; the caller closes it. Raises StorageError when it is none."""
        parent, _, name = path.rpartition(b"/")
        try:
            file = os.open(name, _FILE, dir_fd=self.directory(parent))
        except OSError as error:
            raise self.failure(path, error) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise self._changed(path, "it is no file any more")
        return file

    def failure(self, path: bytes, error: OSError) -> BoxliteError:
        """What to say of a path that could be seen and not be used."""
        place = self._top_path / os.fsdecode(path)
        if error.errno in _CHANGED:
            return self._changed(path, os.strerror(error.errno))
        return storage_error(OSError(error.errno, error.strerror, str(place)), "copying")

    def _changed(self, path: bytes, why: str) -> StorageError:
        return StorageError(
            f"{self._top_path / os.fsdecode(path)} was changed while it was copied: {why}",
            hint="copy a directory that nobody writes to meanwhile",
        )
