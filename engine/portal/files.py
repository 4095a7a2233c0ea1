"""Files of a box, over its session: facts, and tar streams in and out. Everything is resolved inside the container."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import PortalError
from engine.portal.failures import translated
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
    failure: Exception | None = None

    async def messages() -> AsyncIterator[wire.UploadChunk]:
        nonlocal failure
        yield wire.UploadChunk(header=header)
        try:
            async for chunk in chunks:
                for start in range(0, len(chunk), CHUNK_BYTES):
                    yield wire.UploadChunk(data=chunk[start : start + CHUNK_BYTES])
        except Exception as error:
            failure = error
            raise

    try:
        with translated("cp"):
            reply = await session.upload(messages())
    except (asyncio.CancelledError, PortalError):
        if failure is not None:  # grpcio cancels a call whose requests fail, and keeps the reason to itself
            raise failure from None
        raise
    return reply.files, reply.bytes


async def download(
    session: GuestSession, path: bytes, *, name: bytes, follow_link: bool
) -> AsyncGenerator[bytes, None]:
    """A tar stream of a path, its top entry called `name`. A caller who is slow holds the box back."""
    request = wire.DownloadRequest(path=path, name=name, follow_link=follow_link)
    with translated("cp"):
        async for message in session.download(request):
            if message.data:
                yield message.data
