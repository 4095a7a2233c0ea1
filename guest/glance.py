"""The names in a directory, for a shell that completes a path: what the shim asks over the events port.

Forking a process that enters the container, as other file work does, takes an emulated machine longer than somebody wants to
wait at a key. A directory of the container's own disk is therefore opened from outside, beneath the container's root, by a
call that takes every link for one of the container's (openat2(2)). Whatever it refuses (another mount, where a program of the
box may be what answers) and whatever is large is left to a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import struct
from collections.abc import Callable, Iterator
from typing import IO, Any

from guest.container import Container
from guest.errors import GuestError
from guest.files import FileWork
from guest.reaper import Reaper
from guest.wire.constants import GLANCE_NAMES, MAX_EVENT_BYTES

_OPENAT2 = 437
"""The same on every processor."""
_HOW = struct.Struct("=QQQ")
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_MOST_ENTRIES = 5000
"""How many entries the agent itself goes through: it does nothing else meanwhile."""
_MOST_BYTES = 48 * 1024
"""How many bytes of names: what a process can report at once."""
_LINE_BYTES = MAX_EVENT_BYTES - 512

_libc = ctypes.CDLL(None, use_errno=True)


class Glances:
    """Answers each question with one or more events `names`, the last of which says so."""

    def __init__(
        self, container: Container, reaper: Reaper, notify: Callable[[dict[str, Any]], None]
    ) -> None:
        self._container = container
        self._reaper = reaper
        self._notify = notify

    async def answer(self, number: int, directory: str, beginning: str) -> None:
        """Tell the names in `directory` that begin with `beginning`, at most GLANCE_NAMES; none where it cannot be listed."""
        names: list[str] = []
        with contextlib.suppress(OSError, GuestError):  # nobody reads an error between two keys
            names = await self._names(os.fsencode(directory), os.fsencode(beginning))
        *others, last = _in_portions(names)
        for portion in others:
            self._notify({"event": "names", "number": number, "names": portion})
        self._notify({"event": "names", "number": number, "names": last, "end": True})

    async def _names(self, directory: bytes, beginning: bytes) -> list[str]:
        pid = await self._container.view_pid()
        try:
            return _names_from_outside(pid, directory, beginning)
        except OSError:
            listing = functools.partial(_names_within, directory, beginning)
            work = FileWork(self._reaper, pid, listing)
            try:
                return list((await work.result())["names"])
            finally:
                work.close()


def _names_from_outside(pid: int, directory: bytes, beginning: bytes) -> list[str]:
    """Raises OSError for what is not to be listed so."""
    root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = _open_beneath(root_fd, directory)
    finally:
        os.close(root_fd)
    try:
        with os.scandir(fd) as entries:
            return list(_fitting(entries, beginning, most_entries=_MOST_ENTRIES))
    finally:
        os.close(fd)


def _names_within(directory: bytes, beginning: bytes, _: IO[bytes] | None) -> dict[str, Any]:
    with os.scandir(os.fsdecode(directory)) as entries:
        return {"names": list(_fitting(entries, beginning))}


def _open_beneath(root_fd: int, directory: bytes) -> int:
    how = _HOW.pack(
        os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC,
        0,
        _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_XDEV,
    )
    fd: int = _libc.syscall(_OPENAT2, root_fd, directory, how, ctypes.c_size_t(len(how)))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), directory)
    return fd


def _fitting(
    entries: Iterator[os.DirEntry[str]], beginning: bytes, *, most_entries: int | None = None
) -> Iterator[str]:
    """The names that fit, a directory's with a slash. Raises OSError where there are more than `most_entries`."""
    start, names, size_bytes = os.fsdecode(beginning), 0, 0
    for seen, entry in enumerate(entries):
        if seen == most_entries:
            raise OSError("too large to be listed in passing")
        if not entry.name.startswith(start):
            continue
        name = f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
        names, size_bytes = names + 1, size_bytes + _written_bytes(name)
        if names > GLANCE_NAMES or size_bytes > _MOST_BYTES:
            return
        yield name


def _in_portions(names: list[str]) -> Iterator[list[str]]:
    """The names in portions that fit an event."""
    portion: list[str] = []
    size_bytes = 0
    for name in names:
        size_bytes += _written_bytes(name)
        if size_bytes > _LINE_BYTES:
            yield portion
            portion, size_bytes = [], _written_bytes(name)
        portion.append(name)
    yield portion


def _written_bytes(name: str) -> int:
    return len(json.dumps(name)) + len(", ")
