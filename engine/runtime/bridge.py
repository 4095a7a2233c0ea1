"""A few chunks of bytes between the event loop and a thread, each waiting for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

T = TypeVar("T")
QUEUED_CHUNKS = 4


class Bridge:
    """Carries chunks one way; an empty one is the end. `put` and `get` belong to the thread, `send` and `chunks` to
    the loop. After `close` the thread's calls raise BrokenPipeError."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_CHUNKS)
        self._pending: Future[Any] | None = None
        self._closed = False

    def put(self, chunk: bytes) -> None:
        self._wait(self._queue.put(chunk))

    def get(self) -> bytes:
        return self._wait(self._queue.get())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise BrokenPipeError("the other side of the copy has ended")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._pending = future
        if self._closed:
            future.cancel()
        try:
            return future.result()
        except CancelledError:
            raise BrokenPipeError("the other side of the copy has ended") from None

    async def send(self, chunk: bytes) -> None:
        if not self._closed:
            await self._queue.put(chunk)

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._queue.get():
            yield chunk

    def close(self) -> None:
        """Let go of whoever waits, on either side. Idempotent; belongs to the loop."""
        self._closed = True
        while not self._queue.empty():
            self._queue.get_nowait()
        if self._pending is not None:
            self._pending.cancel()


class BridgeReader:
    """What a thread gets from a bridge, as the file a tar stream is read from."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._rest = memoryview(b"")
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most `size` bytes; empty only at the end."""
        if not self._rest and not self._ended:
            self._rest = memoryview(self._bridge.get())
            self._ended = not self._rest
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)


class BridgeWriter:
    """The file a tar stream is written to: small pieces gathered, large chunks sent over a bridge."""

    def __init__(self, bridge: Bridge, *, chunk_bytes: int = 256 * 1024) -> None:
        self._bridge = bridge
        self._chunk_bytes = chunk_bytes
        self._gathered = bytearray()
        self._written = 0

    def tell(self) -> int:
        return self._written

    def write(self, data: bytes | memoryview) -> int:
        size = len(data)
        self._written += size
        if size >= self._chunk_bytes:
            self.flush()
            self._bridge.put(bytes(data))
        else:
            self._gathered += data
            if len(self._gathered) >= self._chunk_bytes:
                self.flush()
        return size

    def flush(self) -> None:
        if self._gathered:
            self._bridge.put(bytes(self._gathered))
            self._gathered.clear()
