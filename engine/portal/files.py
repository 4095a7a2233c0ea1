"""Files of a box, over its session: facts, and tar streams in and out. Everything is resolved inside the container."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import PortalError, RpcTransportError
from engine.portal.failures import translated
from engine.portal.lanes import Lane, open_lane
from guest.wire import portal_pb2 as wire

if TYPE_CHECKING:
    from engine.portal.session import GuestSession

CHUNK_BYTES = 256 * 1024
STAT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFile:
    """What a path in a box is. `mode` as st_mode; `resolved` is the path with every link resolved in the box."""

    exists: bool
    mode: int = 0
    size_bytes: int = 0
    resolved: bytes = b""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


async def stat_file(session: GuestSession, path: bytes, *, follow_link: bool) -> BoxFile:
    """Facts of a path; one that is not there has `exists` false."""
    with translated("cp"):
        reply = await session.stat(
            wire.StatRequest(path=path, follow_link=follow_link), timeout=STAT_TIMEOUT_S
        )
    found = reply.stat
    return BoxFile(exists=found.exists, mode=found.mode, size_bytes=found.size, resolved=found.resolved)


async def upload(
    session: GuestSession, header: wire.UploadHeader, chunks: AsyncIterator[bytes]
) -> tuple[int, int]:
    """Extract a tar stream in the box; how many entries and bytes of files that were.

    A box that takes nothing holds `chunks` back. What `chunks` raises is raised here, after the box has given up.
    """
    async with open_lane(session.sockets_dir) as lane:
        source = _Source(chunks)
        if lane is not None:
            header.lane = lane.ticket
            call = asyncio.ensure_future(_upload(session, source.first_message(header)))
            await source.feed(lane, call)
        else:
            call = asyncio.ensure_future(_upload(session, source.messages(header)))
        try:
            reply = await call
        except (asyncio.CancelledError, PortalError):
            if (
                source.failure is not None
            ):  # grpcio cancels a call whose requests fail, and keeps the reason to itself
                raise source.failure from None
            raise
    return reply.files, reply.bytes


async def _upload(session: GuestSession, messages: AsyncIterator[wire.UploadChunk]) -> wire.UploadReply:
    with translated("cp"):
        reply: wire.UploadReply = await session.upload(messages)
        return reply


class _Source:
    """Where the chunks of an upload come from. `failure` is what it raised."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.failure: Exception | None = None

    async def messages(self, header: wire.UploadHeader) -> AsyncIterator[wire.UploadChunk]:
        yield wire.UploadChunk(header=header)
        try:
            async for chunk in self._chunks:
                for start in range(0, len(chunk), CHUNK_BYTES):
                    yield wire.UploadChunk(data=chunk[start : start + CHUNK_BYTES])
        except Exception as error:
            self.failure = error
            raise

    @staticmethod
    async def first_message(header: wire.UploadHeader) -> AsyncIterator[wire.UploadChunk]:
        yield wire.UploadChunk(header=header)

    async def feed(self, lane: Lane, call: asyncio.Future[wire.UploadReply]) -> None:
        """Send everything down a lane, or as much as the box wants before it answers the call."""
        call.add_done_callback(lambda _: lane.give_up())
        try:
            async for chunk in self._chunks:
                await lane.send(chunk)
            await lane.end()
        except RpcTransportError:
            return  # the call knows why
        except Exception as error:
            self.failure = error
            call.cancel()
        except BaseException:
            call.cancel()
            raise


async def download(
    session: GuestSession, path: bytes, *, name: bytes, follow_link: bool
) -> AsyncGenerator[bytes, None]:
    """A tar stream of a path, its top entry called `name`. A caller who is slow holds the box back."""
    request = wire.DownloadRequest(path=path, name=name, follow_link=follow_link)
    async with open_lane(session.sockets_dir) as lane:
        if lane is None:
            with translated("cp"):
                async for message in session.download(request):
                    if message.data:
                        yield message.data
            return
        request.lane = lane.ticket
        call = asyncio.ensure_future(_answer(session, request))

        def answered(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                lane.give_up()

        call.add_done_callback(answered)
        try:
            whole = False
            async for _, data in lane.receive():
                if not data:
                    whole = True
                    break
                yield data
            await call
            if not whole:
                raise PortalError("the stream from the box ended early", operation="cp")
        finally:
            call.cancel()


async def _answer(session: GuestSession, request: wire.DownloadRequest) -> None:
    """The box's word that a download over a lane has succeeded."""
    with translated("cp"):
        async for _ in session.download(request):
            pass
