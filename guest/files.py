"""File work in the container's view: each piece of it in a process of its own that has entered the mount namespace.

Entering (setns(2)) makes the container's root that process's root, so every path and link is resolved by the kernel
inside the container, mounts included, and nothing there can lead out of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import json
import os
import signal
import stat
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any

from guest.errors import GuestError, from_os_error
from guest.fileops import become
from guest.lanefile import LaneSink, LaneSource
from guest.mounts import enter_mount_namespace
from guest.reaper import Reaper
from guest.tarstream import ExtractOptions, extract_tar
from guest.users import User
from guest.wire.constants import OUTPUT_CHUNK_BYTES
from guest.wire.tarpack import TreePacker

_RESULT_BYTES = 64 * 1024
_PIPE_BYTES = 1024 * 1024
_GIVING_UP_S = 2.0

Work = Callable[[IO[bytes] | None], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What lstat(2) (or stat(2)) says. `resolved` is the path with every link resolved in the container."""

    exists: bool
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link_target: bytes = b""
    resolved: bytes = b""


class FileWork:
    """One piece of work in a child process, with the rights of `user` (None: the agent's own). `write` feeds it, `read`
    takes what it gives, `result` waits for its end; with a lane it is fed from there, or gives to there, by itself. A
    failure is told as met while `doing` something."""

    def __init__(
        self,
        reaper: Reaper,
        view_pid: int,
        work: Work,
        *,
        feeds: bool = False,
        gives: bool = False,
        lane_fd: int | None = None,
        user: User | None = None,
        doing: str = "in the box",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._result_fd, result_fd = os.pipe()
        self._data_fd = -1
        self._gives_to_lane = lane_fd is not None and gives
        child_data = -1
        if lane_fd is None and feeds:
            child_data, self._data_fd = os.pipe()
        elif lane_fd is None and gives:
            self._data_fd, child_data = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(self._result_fd)
            if self._data_fd >= 0:
                os.close(self._data_fd)
            if lane_fd is not None:
                data: Callable[[], AbstractContextManager[Any]] = lambda: _on_lane(lane_fd, feeds=feeds)  # noqa: E731
            elif child_data >= 0:
                data = lambda: os.fdopen(child_data, "rb" if feeds else "wb")  # noqa: E731
            else:
                data = contextlib.nullcontext
            _run_child(view_pid, work, data, result_fd, user, doing)
        self.pid = pid
        self._ended = reaper.watch(pid)
        os.close(result_fd)
        if child_data >= 0:
            os.close(child_data)
            os.set_blocking(self._data_fd, False)
            fcntl.fcntl(self._data_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    async def write(self, data: bytes) -> bool:
        """Feed the work, waiting for it to take the data. False when it takes no more: `result` says why."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._data_fd, view) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except BrokenPipeError:
                return False
        return True

    async def read(self) -> bytes:
        """The next of what the work gives; empty at its end."""
        while True:
            try:
                return os.read(self._data_fd, OUTPUT_CHUNK_BYTES)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()

        def now_ready() -> None:
            if not ready.done():
                ready.set_result(None)

        add(self._data_fd, now_ready)
        try:
            await ready
        finally:
            remove(self._data_fd)

    def end_of_data(self) -> None:
        if self._data_fd >= 0:
            os.close(self._data_fd)
            self._data_fd = -1

    async def result(self) -> dict[str, Any]:
        """What the work returned. Raises GuestError when it failed."""
        await self._ended
        report = json.loads(
            os.read(self._result_fd, _RESULT_BYTES) or b'{"code": "internal", "message": "it was killed"}'
        )
        if "code" in report:
            raise GuestError(report["code"], report["message"], errno=report.get("errno", 0))
        return dict(report)

    def close(self) -> None:
        """Give the work up if it still runs. It is told so before its data ends: what is half written is taken away, never
        taken for the whole. What gives to a lane is killed: nothing more must come from it there."""
        if not self._ended.done():
            self._signal(signal.SIGKILL if self._gives_to_lane else signal.SIGTERM)
            self._loop.call_later(_GIVING_UP_S, self._signal, signal.SIGKILL)
        self.end_of_data()
        os.close(self._result_fd)

    def _signal(self, signum: int) -> None:
        if not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)


def _on_lane(fd: int, *, feeds: bool) -> AbstractContextManager[Any]:
    return contextlib.nullcontext(LaneSource(fd)) if feeds else contextlib.closing(LaneSink(fd))


class _GivenUpError(BaseException):
    """Nobody wants the work any more."""


def _give_up(_: int, __: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _GivenUpError


def _run_child(
    view_pid: int,
    work: Work,
    open_data: Callable[[], AbstractContextManager[Any]],
    result_fd: int,
    user: User | None,
    doing: str,
) -> None:
    """The child's whole life; never returns."""
    try:
        signal.signal(signal.SIGTERM, _give_up)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        gc.disable()
        try:
            enter_mount_namespace(view_pid)
            os.umask(0)
            if user is not None:
                become(user)
            with open_data() as data:
                report = work(data)
        except OSError as error:
            failure = from_os_error(error, doing)
            report = {"code": failure.code, "message": failure.message, "errno": failure.errno}
        except Exception as error:
            traceback.print_exc()
            report = {"code": "internal", "message": f"{type(error).__name__}: {error}"}
        os.write(result_fd, json.dumps(report).encode()[:_RESULT_BYTES])
    finally:
        os._exit(0)


def stat_work(path: bytes, *, follow: bool) -> Work:
    """Work that returns the fields of FileFacts for a path."""
    return lambda _: _facts_report(path, follow=follow)


def upload_work(directory: bytes, options: ExtractOptions) -> Work:
    """Work that extracts the tar stream it is fed; returns `files` and `bytes`."""

    def extract(source: IO[bytes] | None) -> dict[str, Any]:
        assert source is not None
        files, size_bytes = extract_tar(source, directory, options)
        while source.read(OUTPUT_CHUNK_BYTES):  # what follows the archive's end: padding
            pass
        return {"files": files, "bytes": size_bytes}

    return extract


def download_work(path: bytes, name: bytes) -> Work:
    """Work that gives a tar stream of a path."""

    def write(sink: IO[bytes] | None) -> dict[str, Any]:
        assert sink is not None
        packer = TreePacker(sink)
        packer.pack(path, name)
        packer.finish()
        return {}

    return write


def facts_of(report: dict[str, Any]) -> FileFacts:
    """The FileFacts in a stat's report."""
    fields = dict(report)
    for name in ("link_target", "resolved"):
        fields[name] = os.fsencode(fields.get(name, ""))
    return FileFacts(**fields)


def _facts_report(path: bytes, *, follow: bool) -> dict[str, Any]:
    try:
        found = os.stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        found = None
    report: dict[str, Any] = {"exists": found is not None, "resolved": os.fsdecode(os.path.realpath(path))}
    if found is not None:
        report |= {
            "mode": found.st_mode, "uid": found.st_uid, "gid": found.st_gid, "size": found.st_size,
            "mtime_ns": found.st_mtime_ns,
        }  # fmt: skip
        if stat.S_ISLNK(found.st_mode):
            report["link_target"] = os.fsdecode(os.readlink(path))
    return report


async def chunks_of(work: FileWork) -> AsyncIterator[bytes]:
    """All that a piece of work gives."""
    while data := await work.read():
        yield data
