"""Single files and directories of a box, over its session. Everything is resolved inside the container, with the rights
of one of its users (`user` empty: the one its commands run as).

What comes from the box is bounded here: no reply makes this process hold more than its caller allowed.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from engine.errors import NotFoundError, PortalError, ResourceExhaustedError
from engine.model.files import FileInfo, FileKind, file_kind
from engine.portal.failures import translated
from guest.wire import portal_pb2 as wire

if TYPE_CHECKING:
    from engine.portal.session import GuestSession

CHUNK_BYTES = 256 * 1024
MAX_LISTING_BYTES = 64 * 1024 * 1024
"""About half a million entries."""
STAT_TIMEOUT_S = 30.0
CHANGE_TIMEOUT_S = 300.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def find_file(session: GuestSession, path: str, *, user: str, follow_links: bool) -> FileInfo | None:
    """What a path is; None when nothing is there. Raises DeniedError when `user` may not look."""
    request = wire.StatRequest(path=os.fsencode(path), follow_link=follow_links, user=user, as_user=True)
    with translated("stat"):
        reply = await session.stat(request, timeout=STAT_TIMEOUT_S)
    return _file_info(posixpath.join("/", path), reply.stat) if reply.stat.exists else None


async def get_file(session: GuestSession, path: str, *, user: str, follow_links: bool) -> FileInfo:
    """The same. Raises NotFoundError."""
    found = await find_file(session, path, user=user, follow_links=follow_links)
    if found is None:
        raise NotFoundError(f"{posixpath.join('/', path)}: no such file or directory")
    return found


async def read_chunks(
    session: GuestSession, path: str, *, user: str, offset: int, size: int | None
) -> AsyncGenerator[bytes, None]:
    """A file's bytes from `offset` on, at most `size` of them, in pieces. A caller who is slow holds the box back."""
    if size == 0:
        return
    request = wire.ReadRequest(path=os.fsencode(path), user=user, offset=offset, limit=size or 0)
    left = size
    with translated("read"):
        async for message in session.read(request):
            data = message.data if left is None else message.data[:left]
            left = None if left is None else left - len(data)
            if data:
                yield data


async def write_chunks(session: GuestSession, header: wire.WriteHeader, chunks: AsyncIterator[bytes]) -> int:
    """Make a file of what `chunks` gives; how many bytes that was. What `chunks` raises is raised here, and the file is
    then what it was before."""
    failure: Exception | None = None
    refused = asyncio.Event()

    async def messages() -> AsyncIterator[wire.WriteChunk]:
        nonlocal failure
        yield wire.WriteChunk(header=header)
        try:
            async for chunk in chunks:
                for start in range(0, len(chunk), CHUNK_BYTES):
                    if refused.is_set():
                        return
                    yield wire.WriteChunk(data=chunk[start : start + CHUNK_BYTES])
        except Exception as error:
            failure = error
            raise
        yield wire.WriteChunk(end=True)

    try:
        with translated("write"):
            reply = await session.write(messages(), heard=refused.set)
    except (asyncio.CancelledError, PortalError):
        if failure is not None:  # grpcio cancels a call whose requests fail, and keeps the reason to itself
            raise failure from None
        raise
    return int(reply.bytes)


async def list_files(session: GuestSession, path: str, *, user: str, is_pattern: bool) -> list[FileInfo]:
    """What a directory holds, or what a pattern matches. Raises ResourceExhaustedError for more than fits into
    MAX_LISTING_BYTES."""
    from google.protobuf.message import DecodeError

    request = wire.ListFilesRequest(path=os.fsencode(path), user=user, is_pattern=is_pattern)
    listing = bytearray()
    with translated("list"):
        async for message in session.list_files(request):
            listing += message.data
            if len(listing) > MAX_LISTING_BYTES:
                raise ResourceExhaustedError(
                    f"{path}: more files than one listing takes ({MAX_LISTING_BYTES >> 20} MiB)",
                    hint="list its directories one by one, or with a narrower pattern",
                )
    try:
        entries = wire.FileEntries.FromString(bytes(listing)).entries
    except DecodeError as error:
        raise PortalError("the box did not send a listing") from error
    top = "/" if is_pattern else posixpath.join("/", path)
    return [_file_info(posixpath.join(top, os.fsdecode(entry.path)), entry.stat) for entry in entries]


async def change_file(session: GuestSession, request: wire.ChangeRequest, operation: str) -> None:
    with translated(operation):
        await session.change(request, timeout=CHANGE_TIMEOUT_S)


def _file_info(path: str, found: wire.FileStat) -> FileInfo:
    kind = file_kind(found.mode)
    return FileInfo(
        path=path,
        kind=kind,
        mode=found.mode & 0o7777,
        uid=found.uid,
        gid=found.gid,
        size_bytes=found.size,
        modified_at=_time(found.mtime_ns),
        link_target=os.fsdecode(found.link_target) if kind is FileKind.LINK else None,
    )


def _time(mtime_ns: int) -> datetime:
    """As near as a datetime comes to what a box claims."""
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if mtime_ns > 0 else _EPOCH
