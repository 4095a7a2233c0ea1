"""Files of a box, over its session: facts, and tar streams in and out. Everything is resolved inside the container."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import TYPE_CHECKING, TypeVar

from engine.errors import DeadlineError, PortalError
from engine.portal.failures import translated
from engine.portal.lanes import Lane, open_lane
from engine.values import dataclass
from guest.wire import portal_pb2 as wire

if TYPE_CHECKING:
    from engine.portal.session import GuestSession

T = TypeVar("T")
CHUNK_BYTES = 256 * 1024
STAT_TIMEOUT_S = 30.0
STALL_S = 120.0
"""How long a box may neither take nor give a byte of a copy."""


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
        if lane is None:
            reply = await _upload_in_messages(session, header, chunks)
        else:
            reply = await _upload_on_lane(session, header, chunks, lane)
    return reply.files, reply.bytes


async def _upload_on_lane(
    session: GuestSession, header: wire.UploadHeader, chunks: AsyncIterator[bytes], lane: Lane
) -> wire.UploadReply:
    turn = _Turn()

    async def messages() -> AsyncIterator[wire.UploadChunk]:
        header.lane = lane.ticket
        yield wire.UploadChunk(header=header)

    async def feed() -> bool:
        """False when the box takes no more: it then says why."""
        turn.is_ours()
        async for chunk in chunks:
            turn.is_the_boxes()
            if not await lane.send(chunk):
                return False
            turn.is_ours()
        turn.is_the_boxes()
        return await lane.end()

    async def outcome() -> wire.UploadReply:
        await feed()
        reply: wire.UploadReply = await call
        return reply

    with translated("cp"):
        call = asyncio.ensure_future(session.upload(messages()))
        call.add_done_callback(lambda _: lane.give_up())
        try:
            return await _unless_stalled(outcome(), turn)
        finally:
            call.cancel()
            await asyncio.wait((call,))


async def _upload_in_messages(
    session: GuestSession, header: wire.UploadHeader, chunks: AsyncIterator[bytes]
) -> wire.UploadReply:
    failure: Exception | None = None
    turn = _Turn()

    async def messages() -> AsyncIterator[wire.UploadChunk]:
        nonlocal failure
        yield wire.UploadChunk(header=header)
        try:
            turn.is_ours()
            async for chunk in chunks:
                for start in range(0, len(chunk), CHUNK_BYTES):
                    turn.is_the_boxes()
                    yield wire.UploadChunk(data=chunk[start : start + CHUNK_BYTES])
                turn.is_ours()
            turn.is_the_boxes()
        except Exception as error:
            failure = error
            raise

    try:
        with translated("cp"):
            reply: wire.UploadReply = await _unless_stalled(session.upload(messages()), turn)
            return reply
    except (asyncio.CancelledError, PortalError):
        if failure is not None:  # grpcio cancels a call whose requests fail, and keeps the reason to itself
            raise failure from None
        raise


async def download(
    session: GuestSession, path: bytes, *, name: bytes, follow_link: bool
) -> AsyncGenerator[bytes, None]:
    """A tar stream of a path, its top entry called `name`. A caller who is slow holds the box back."""
    request = wire.DownloadRequest(path=path, name=name, follow_link=follow_link)
    async with open_lane(session.sockets_dir) as lane:
        if lane is not None:
            async for chunk in _download_on_lane(session, request, lane):
                yield chunk
            return
    with translated("cp"):
        messages = aiter(session.download(request))
        while (data := await _next_data(messages)) is not None:
            yield data


async def _download_on_lane(
    session: GuestSession, request: wire.DownloadRequest, lane: Lane
) -> AsyncGenerator[bytes, None]:
    request.lane = lane.ticket
    call = asyncio.ensure_future(_answer(session, request))

    def answered(done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            lane.give_up()

    call.add_done_callback(answered)
    frames = lane.receive()
    data: bytes | None
    try:
        while data := await _next_of_lane(frames):
            yield data
        await _next_answer(call)
        if data is None:
            raise PortalError("the stream from the box ended early", operation="cp")
    finally:
        call.cancel()
        await asyncio.wait((call,))


async def _answer(session: GuestSession, request: wire.DownloadRequest) -> None:
    """The box's word that a download over a lane has succeeded."""
    with translated("cp"):
        async for _ in session.download(request):
            pass


async def _next_of_lane(frames: AsyncIterator[tuple[int, bytes]]) -> bytes | None:
    """The next bytes; none at the end of the stream, None when the lane ended before it. Raises DeadlineError."""
    try:
        async with asyncio.timeout(STALL_S):
            found = await anext(frames, None)
    except TimeoutError as error:
        raise DeadlineError(f"the box sent nothing for {STALL_S:g} s") from error
    return None if found is None else found[1]


async def _next_answer(call: asyncio.Future[None]) -> None:
    try:
        await asyncio.wait_for(call, STALL_S)
    except TimeoutError as error:
        raise DeadlineError(f"the box said nothing for {STALL_S:g} s") from error


async def _next_data(messages: AsyncIterator[wire.DownloadChunk]) -> bytes | None:
    """The next bytes of a download, None at its end. Raises DeadlineError; messages without any do not count."""
    try:
        async with asyncio.timeout(STALL_S):
            async for message in messages:
                if message.data:
                    return message.data
        return None
    except TimeoutError as error:
        raise DeadlineError(f"the box sent nothing for {STALL_S:g} s") from error


class _Turn:
    """Whose turn it is in an upload: ours, to come up with the next bytes, or the box's, to take them."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.is_the_boxes()

    def is_ours(self) -> None:
        self._since = None

    def is_the_boxes(self) -> None:
        self._since = time.monotonic()

    @property
    def left_s(self) -> float:
        """What is left of the time the box has."""
        return STALL_S if self._since is None else STALL_S - (time.monotonic() - self._since)


async def _unless_stalled(call: Awaitable[T], turn: _Turn) -> T:
    """The outcome of a call, unless the box lets its time pass. Raises DeadlineError."""
    task = asyncio.ensure_future(call)
    try:
        while not task.done():
            if turn.left_s <= 0:
                raise DeadlineError(f"the box took nothing for {STALL_S:g} s")
            await asyncio.wait((task,), timeout=turn.left_s)
        return task.result()
    finally:
        task.cancel()
