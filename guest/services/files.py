"""boxlite.v1.Files: tar streams, single files and directories, in the container's view."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import IO, Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from guest import fileops
from guest.container import Container
from guest.errors import GuestError
from guest.files import (
    FileFacts,
    FileWork,
    Work,
    chunks_of,
    download_work,
    facts_of,
    stat_work,
    upload_work,
)
from guest.lanes import Lanes
from guest.reaper import Reaper
from guest.services.calls import streaming, unary
from guest.tarstream import ExtractOptions
from guest.users import User
from guest.wire import portal_pb2 as pb

_SERVICE = "/boxlite.v1.Files/"
_HEARTBEAT_S = 1.0


class FilesService:
    def __init__(
        self, container: Container, reaper: Reaper, lanes: Lanes, activity: Callable[[], None]
    ) -> None:
        self._container = container
        self._reaper = reaper
        self._lanes = lanes
        self._activity = activity

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"{_SERVICE}Upload": streaming(
                self.upload, Cardinality.STREAM_UNARY, pb.UploadChunk, pb.UploadReply
            ),
            f"{_SERVICE}Download": streaming(
                self.download, Cardinality.UNARY_STREAM, pb.DownloadRequest, pb.DownloadChunk
            ),
            f"{_SERVICE}Stat": unary(self.stat, pb.StatRequest, pb.StatReply),
            f"{_SERVICE}Read": streaming(
                self.read, Cardinality.UNARY_STREAM, pb.ReadRequest, pb.DownloadChunk
            ),
            f"{_SERVICE}Write": streaming(self.write, Cardinality.STREAM_UNARY, pb.WriteChunk, pb.WriteReply),
            f"{_SERVICE}List": streaming(
                self.list, Cardinality.UNARY_STREAM, pb.ListFilesRequest, pb.DownloadChunk
            ),
            f"{_SERVICE}Change": unary(self.change, pb.ChangeRequest, pb.ChangeReply),
        }

    async def upload(self, stream: Stream[Any, Any]) -> None:
        first = await stream.recv_message()
        if first is None or not first.HasField("header"):
            raise GuestError("invalid_argument", "the first message of an upload must be its header")
        header = first.header
        options = ExtractOptions(
            make_parents=header.make_parents,
            overwrite=header.overwrite,
            no_dir_overwrite=header.no_dir_overwrite,
            owner=None if header.keep_owner else (header.uid, header.gid),
        )
        pid = await self._view()
        wanted = upload_work(_absolute(header.path), options)
        if header.lane:
            report = await self._work_on_lane(header.lane, pid, wanted, feeds=True)
            await stream.send_message(pb.UploadReply(files=report["files"], bytes=report["bytes"]))
            return
        with self._work(pid, wanted, feeds=True) as work:
            taking = not first.data or await work.write(first.data)
            async for chunk in stream:
                self._activity()
                if not taking:  # what is wrong is said now, not when all of it has been sent
                    break
                taking = await work.write(chunk.data)
            work.end_of_data()
            report = await work.result()
        await stream.send_message(pb.UploadReply(files=report["files"], bytes=report["bytes"]))

    async def download(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        if request is None:
            return
        pid = await self._view()
        path = _absolute(request.path)
        facts = await self._facts(pid, path, follow=request.follow_link)
        if not facts.exists:
            raise GuestError("not_found", f"{os.fsdecode(path)} does not exist in the box", errno=2)
        await stream.send_message(pb.DownloadChunk(stat=_file_stat(facts)))
        name = request.name or os.path.basename(path.rstrip(b"/")) or b"."
        source = facts.resolved if request.follow_link else path
        if request.lane:
            await self._work_on_lane(request.lane, pid, download_work(source, name), gives=True)
            return
        with self._work(pid, download_work(source, name), gives=True) as work:
            async for data in chunks_of(work):
                self._activity()
                await stream.send_message(pb.DownloadChunk(data=data))
            await work.result()

    async def _work_on_lane(
        self, ticket: bytes, pid: int, work: Work, *, feeds: bool = False, gives: bool = False
    ) -> dict[str, Any]:
        """Work that takes its data from the client's lane, or gives them there."""
        async with self._lanes.taken(ticket) as lane:
            with lane.lent() as lane_fd:
                running = FileWork(self._reaper, pid, work, feeds=feeds, gives=gives, lane_fd=lane_fd)
                result = asyncio.ensure_future(running.result())
                try:
                    while not result.done():
                        self._activity()
                        await asyncio.wait((result,), timeout=_HEARTBEAT_S)
                    return result.result()
                finally:
                    result.cancel()
                    running.close()

    async def stat(self, request: pb.StatRequest) -> pb.StatReply:
        pid = await self._view()
        user = self._container.user(request.user) if request.as_user else None
        facts = await self._facts(pid, _absolute(request.path), follow=request.follow_link, user=user)
        return pb.StatReply(stat=_file_stat(facts))

    async def read(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        if request is not None:
            path = _absolute(request.path)
            await self._give(
                stream,
                request.user,
                lambda sink: fileops.read_file(sink, path, request.offset, request.limit),
            )

    async def write(self, stream: Stream[Any, Any]) -> None:
        first = await stream.recv_message()
        if first is None or not first.HasField("header"):
            raise GuestError("invalid_argument", "the first message of a write must be its header")
        header = first.header
        options = fileops.WriteOptions(
            create_only=header.kind == pb.WriteHeader.CREATE,
            append=header.kind == pb.WriteHeader.APPEND,
            mode=header.mode - 1 if header.mode else None,
            make_parents=header.make_parents,
        )
        path = _absolute(header.path)
        pid = await self._view()

        def writing(source: IO[bytes] | None) -> dict[str, Any]:
            assert source is not None
            return {"bytes": fileops.write_file(source, path, options)}

        user = self._container.user(header.user)
        with self._work(pid, writing, feeds=True, user=user, doing="") as work:
            chunk, taking = first, True
            while chunk is not None and not chunk.end:
                self._activity()
                if taking and chunk.data and not await work.write(chunk.data):
                    taking = False
                    await stream.send_initial_metadata()  # the client stops sending
                chunk = await stream.recv_message()
            if chunk is None and taking:
                raise GuestError("invalid_argument", "the stream ended before the file did")
            work.end_of_data()
            report = await work.result()
        await stream.send_message(pb.WriteReply(bytes=report["bytes"]))

    async def list(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        if request is not None:
            path = _absolute(request.path)
            listing = fileops.list_matches if request.is_pattern else fileops.list_directory
            await self._give(stream, request.user, lambda sink: listing(sink, path))

    async def _give(self, stream: Stream[Any, Any], user: str, giving: Callable[[IO[bytes]], None]) -> None:
        """Send what a piece of work gives."""

        def give(sink: IO[bytes] | None) -> dict[str, Any]:
            assert sink is not None
            giving(sink)
            return {}

        pid = await self._view()
        with self._work(pid, give, gives=True, user=self._container.user(user), doing="") as work:
            async for data in chunks_of(work):
                self._activity()
                await stream.send_message(pb.DownloadChunk(data=data))
            await work.result()
            await stream.send_message(pb.DownloadChunk())

    async def change(self, request: pb.ChangeRequest) -> pb.ChangeReply:
        pid = await self._view()
        change = self._change_of(request)

        def work(_: IO[bytes] | None) -> dict[str, Any]:
            change()
            return {}

        with self._work(pid, work, user=self._container.user(request.user), doing="") as running:
            await running.result()
        return pb.ChangeReply()

    def _change_of(self, request: pb.ChangeRequest) -> Callable[[], None]:
        path = _absolute(request.path)
        match request.WhichOneof("change"):
            case "make_directory":
                wanted = request.make_directory
                return functools.partial(
                    fileops.make_directory,
                    path,
                    mode=wanted.mode & 0o7777,
                    parents=wanted.parents,
                    exist_ok=wanted.exist_ok,
                )
            case "remove":
                return functools.partial(
                    fileops.remove,
                    path,
                    recursive=request.remove.recursive,
                    missing_ok=request.remove.missing_ok,
                )
            case "rename":
                return functools.partial(
                    fileops.rename,
                    path,
                    _absolute(request.rename.target),
                    overwrite=request.rename.overwrite,
                )
            case "change_mode":
                mode = request.change_mode
                return functools.partial(
                    fileops.change_mode, path, mode.mode & 0o7777, recursive=mode.recursive
                )
            case "change_owner":
                owner = self._container.user(request.change_owner.owner)
                return functools.partial(
                    fileops.change_owner,
                    path,
                    owner.uid,
                    owner.gid,
                    recursive=request.change_owner.recursive,
                )
        raise GuestError("invalid_argument", "the request names no change")

    async def _view(self) -> int:
        self._activity()
        return await self._container.view_pid()

    async def _facts(self, pid: int, path: bytes, *, follow: bool, user: User | None = None) -> FileFacts:
        doing = "in the box" if user is None else ""
        with self._work(pid, stat_work(path, follow=follow), user=user, doing=doing) as work:
            return facts_of(await work.result())

    @contextlib.contextmanager
    def _work(
        self,
        pid: int,
        work: Work,
        *,
        feeds: bool = False,
        gives: bool = False,
        user: User | None = None,
        doing: str = "in the box",
    ) -> Iterator[FileWork]:
        """A piece of work that does not outlive its caller."""
        running = FileWork(self._reaper, pid, work, feeds=feeds, gives=gives, user=user, doing=doing)
        try:
            yield running
        finally:
            running.close()


def _absolute(path: bytes) -> bytes:
    """Relative paths count from `/`, as Docker has it."""
    return path if path.startswith(b"/") else b"/" + path


def _file_stat(facts: FileFacts) -> pb.FileStat:
    return pb.FileStat(
        exists=facts.exists,
        mode=facts.mode,
        uid=facts.uid,
        gid=facts.gid,
        size=facts.size,
        mtime_ns=facts.mtime_ns,
        link_target=facts.link_target,
        resolved=facts.resolved,
    )
