"""One output stream of an execution: what is kept of it, who reads it, and when its writer has to wait.

Offsets count the stream's bytes from its beginning. The last BACKLOG_BYTES are kept for those who attach later. A reader
who is attached never misses a byte: the writer is held back instead, from when the slowest reader is a whole backlog
behind. With nobody attached the oldest bytes are dropped, unless the stream is still `held` for its first reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from guest.wire.constants import BACKLOG_BYTES, OUTPUT_CHUNK_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Part of a stream; `end` says that nothing follows (then `data` is empty and `offset` is the stream's length)."""

    offset: int
    data: bytes = b""
    end: bool = False


class OutputStream:
    def __init__(self, *, held: bool = False, capacity: int = BACKLOG_BYTES) -> None:
        self._capacity = capacity
        self._held = held
        self._chunks: deque[bytes] = deque()
        self._start = 0
        self._end = 0
        self._ended = False
        self._readers: set[Reader] = set()
        self._on_room: Callable[[], None] | None = None
        self.finished = asyncio.Event()

    @property
    def length(self) -> int:
        return self._end

    @property
    def ended(self) -> bool:
        return self._ended

    def room(self) -> int:
        """How many bytes may be appended now without anybody losing one."""
        if self._readers:
            slowest = min(reader.offset for reader in self._readers)
        elif self._held:
            slowest = self._start
        else:
            return self._capacity
        return max(0, self._capacity - (self._end - max(slowest, self._start)))

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, soon after there is room again."""
        self._on_room = callback

    def append(self, data: bytes) -> None:
        """Add at most `room()` bytes."""
        if not data or self._ended:
            return
        self._chunks.append(data)
        self._end += len(data)
        while self._end - self._start - len(self._chunks[0]) >= self._capacity:
            self._start += len(self._chunks.popleft())
        self._wake_readers()

    def finish(self) -> None:
        """No more will come."""
        if not self._ended:
            self._ended = True
            self.finished.set()
            self._wake_readers()

    def release(self) -> None:
        """Hold nothing back any longer for a reader who has not come."""
        self._held = False
        self._room_changed()

    def attach(self, offset: int, woken: asyncio.Event | None = None) -> Reader:
        """Read from `offset` on, or from the oldest byte kept if that is later. `woken` is set when there is more."""
        reader = Reader(self, max(self._start, min(offset, self._end)), woken or asyncio.Event())
        self._readers.add(reader)
        self._held = False
        return reader

    def detach(self, reader: Reader) -> None:
        self._readers.discard(reader)
        self._room_changed()

    def _read(self, offset: int) -> bytes:
        """Bytes from `offset` on, at most OUTPUT_CHUNK_BYTES; empty when there are none yet."""
        position = self._start
        parts: list[bytes] = []
        wanted = OUTPUT_CHUNK_BYTES
        for chunk in self._chunks:
            following = position + len(chunk)
            if following > offset and wanted > 0:
                part = chunk[max(0, offset - position) :][:wanted]
                parts.append(part)
                wanted -= len(part)
            position = following
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _wake_readers(self) -> None:
        for reader in self._readers:
            reader.wake()

    def _room_changed(self) -> None:
        if self._on_room is not None and self.room() > 0:
            callback, self._on_room = self._on_room, None
            asyncio.get_running_loop().call_soon(callback)


class Reader:
    """One attached client's place in a stream; several may share the event that wakes their client."""

    def __init__(self, stream: OutputStream, offset: int, woken: asyncio.Event) -> None:
        self._stream = stream
        self.offset = offset
        self._woken = woken

    def wake(self) -> None:
        self._woken.set()

    async def next(self) -> Chunk:
        """The next part of the stream. After the chunk with `end` there is no other."""
        while True:
            self._woken.clear()
            chunk = self.find_next()
            if chunk is not None:
                return chunk
            await self._woken.wait()

    def find_next(self) -> Chunk | None:
        """The same, or None while there is nothing yet."""
        data = self._stream._read(self.offset)
        if data:
            return Chunk(offset=self.offset, data=data)
        return Chunk(offset=self.offset, end=True) if self._stream.ended else None

    def consumed(self, chunk: Chunk) -> None:
        """The client took a chunk: what it held back may go on."""
        self.offset = chunk.offset + len(chunk.data)
        self._stream._room_changed()

    def close(self) -> None:
        self._stream.detach(self)
