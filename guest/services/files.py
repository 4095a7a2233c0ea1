"""boxlite.v1.Files: tar streams and facts of files, in the container's view."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

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
        facts = await self._facts(await self._view(), _absolute(request.path), follow=request.follow_link)
        return pb.StatReply(stat=_file_stat(facts))

    async def _view(self) -> int:
        self._activity()
        return await self._container.view_pid()

    async def _facts(self, pid: int, path: bytes, *, follow: bool) -> FileFacts:
        with self._work(pid, stat_work(path, follow=follow)) as work:
            return facts_of(await work.result())

    @contextlib.contextmanager
    def _work(self, pid: int, work: Work, *, feeds: bool = False, gives: bool = False) -> Iterator[FileWork]:
        """A piece of work that does not outlive its caller."""
        running = FileWork(self._reaper, pid, work, feeds=feeds, gives=gives)
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
