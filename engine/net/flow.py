"""One connection as the gateway sees it: a stream of bytes in both directions, whoever is at the other end.

The box's side of a connection (a flow of the portal) and the server's side (a socket) have the same shape, so that what
stands between them, a relay or a TLS interception, need not know which is which.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

CHUNK_BYTES = 256 * 1024


class Flow(ABC):
    """A two-way stream of bytes. Nothing of it is buffered without bound: `write` waits while the other side is slow.

    Every method but `close` and `abort` raises ConnectionError when the connection was lost.
    """

    def __init__(self) -> None:
        self._unread = b""

    @property
    def peeked(self) -> bytes:
        """What was read and put back, and comes again with the next `read`."""
        return self._unread

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of what is still to be read."""
        self._unread = data + self._unread

    async def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        """At least one byte, as soon as there is one, at most `max_bytes`; b"" once the other side has ended."""
        if self._unread:
            data, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
            return data
        return await self._read(max_bytes)

    @abstractmethod
    async def _read(self, max_bytes: int) -> bytes: ...

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send bytes; returns when there is room for more."""

    @abstractmethod
    async def write_eof(self) -> None:
        """Nothing more comes from here; the other direction goes on."""

    @abstractmethod
    def close(self) -> None:
        """End both directions; what was written is still sent. Idempotent."""

    @abstractmethod
    def abort(self) -> None:
        """End both directions at once, so that the other side sees a reset. Idempotent."""


class StreamFlow(Flow):
    """A flow over asyncio's streams: a TCP connection, with TLS or without."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self._reader = reader
        self._writer = writer

    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """What was negotiated, where there is TLS."""
        found: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return found

    async def _read(self, max_bytes: int) -> bytes:
        return await self._reader.read(max_bytes)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        if self._writer.can_write_eof():
            with contextlib.suppress(OSError):  # it may have been shut down by the other side
                self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a flow goes: `name` is what the policy allowed (lower case, without a trailing dot), None where it was
    allowed by its address; `addresses` are what the gateway resolved or took over, in the order to try them."""

    name: str | None
    port: int
    addresses: tuple[str, ...]


Connect = Callable[[], Awaitable[Flow]]
"""Opens the TCP connection to a target, as the policy allows it. Raises OSError."""


async def relay(near: Flow, far: Flow) -> None:
    """Carry bytes both ways until both directions have ended; one that is lost takes the other with it."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(carry(near, far))
            group.create_task(carry(far, near))
    except* OSError:
        near.abort()
        far.abort()
    finally:
        far.close()


async def carry(source: Flow, sink: Flow) -> None:
    """One direction, to its end."""
    while data := await source.read():
        await sink.write(data)
    await sink.write_eof()
