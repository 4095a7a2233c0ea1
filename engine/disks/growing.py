"""A file that somebody is still filling, read as it grows: so a layer is decompressed while it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from threading import Condition
from typing import IO, cast

from engine.errors import InternalError

_HEAD_BYTES = 8


class BegunAnewError(Exception):
    """What was read so far is not what the file will be."""


class GrowingFile:
    """How far a file is. Make it, `finish` it and wait for `begun` on the loop; all else may be called in any thread.

    What is read before `finish` has not been verified by anybody.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        """Set once there is something to read, or the file is whole."""
        self._loop = asyncio.get_running_loop()
        self._changed = Condition()
        self._path: Path | None = None
        self._held_bytes = 0
        self._is_whole = False
        self._is_given_up = False
        self._was_begun_anew = False

    def grow(self, path: Path, held_bytes: int) -> None:
        """So much is in `path` now; less than before means that it was begun anew."""
        with self._changed:
            is_first = self._path is None
            self._was_begun_anew |= held_bytes < self._held_bytes
            self._path, self._held_bytes = path, held_bytes
            self._changed.notify_all()
        if is_first:
            self._loop.call_soon_threadsafe(self.begun.set)

    def finish(self) -> None:
        """It is whole, verified and in its place."""
        with self._changed:
            self._is_whole = True
            self._changed.notify_all()
        self.begun.set()

    def give_up(self) -> None:
        """It will not become whole: those who read it, or wait, get an InternalError."""
        with self._changed:
            self._is_given_up = True
            self._changed.notify_all()

    def wait_until_whole(self) -> None:
        """Blocks. Raises BegunAnewError when it is whole, but was begun anew since somebody could first read it."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_whole or self._is_given_up)
            self._check()

    @contextmanager
    def opened(self) -> Iterator[IO[bytes] | None]:
        """Read it from its beginning, `read` waiting for more until it is whole; None where it has its place already."""
        with self._changed:
            path = None if self._is_whole else self._path
        if path is None:
            yield None
            return
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:  # it has just got its place
            yield None
            return
        with file:
            yield cast("IO[bytes]", _Following(self, file))

    def wait_for_more(self, place: int, at_least: int) -> int:
        """How many bytes there are behind `place`; fewer than asked for at the end of a whole file only. Blocks."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._held_bytes >= place + at_least
                    or self._is_whole
                    or self._is_given_up
                    or self._was_begun_anew
                )
            )
            self._check()
            return self._held_bytes - place

    def _check(self) -> None:
        if self._is_given_up:
            raise InternalError("cancelled")
        if self._was_begun_anew:
            raise BegunAnewError


class _Following:
    """As much of a stream as decompression needs."""

    def __init__(self, growing: GrowingFile, file: FileIO) -> None:
        self._growing = growing
        self._file = file
        self._place = 0

    def read(self, size: int) -> bytes:
        """At the beginning enough to know a stream by."""
        at_least = 1 if self._place else min(size, _HEAD_BYTES)
        piece = self._file.read(min(size, self._growing.wait_for_more(self._place, at_least)))
        self._place += len(piece)
        return piece

    def seek(self, place: int) -> None:
        self._place = self._file.seek(place)
