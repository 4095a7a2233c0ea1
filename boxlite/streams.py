"""The streams of an execution as a program reads and writes them."""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol

from engine.errors import BoxliteError, InvalidStateError, ResourceExhaustedError

BUFFER_BYTES = 16 * 1024 * 1024
"""How much of a stream waits for its reader. Beyond it a stream that was asked for holds the command back, and one that
was not loses its oldest bytes."""


class Output(AsyncIterator[str]):
    """Standard output or error of a command: an async iterator of text, UTF-8 with U+FFFD for what is not.

    Each item is one line without its end; with a terminal, whatever has arrived, since a prompt is no line. `read` and
    `chunks` give what has not been iterated yet. Raises the error that ended the stream early, if one did.
    """

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._ended = False
        self._error: BoxliteError | None = None
        self._changed = asyncio.Condition()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: deque[str] = deque()
        self._part = ""
        self._text_ended = False
        self.taken = False

    async def _fill(self, source: AsyncIterable[bytes]) -> None:
        """Take in the whole stream."""
        try:
            async for chunk in source:
                await self._put(chunk)
        except BoxliteError as error:
            self._error = error
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    async def _put(self, chunk: bytes) -> None:
        async with self._changed:
            while self._size >= BUFFER_BYTES:
                if not self.taken:
                    oldest = self._chunks.popleft()
                    self._size -= len(oldest)
                    self._lost += len(oldest)
                else:
                    await self._changed.wait()
            self._chunks.append(chunk)
            self._size += len(chunk)
            self._changed.notify_all()

    async def _next_chunk(self) -> bytes | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._chunks or self._ended or self._lost)
            if self._lost:
                lost, self._lost = self._lost, 0
                raise ResourceExhaustedError(
                    f"{lost} bytes of output came before they were asked for and are lost", operation="exec"
                )
            if self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
                self._changed.notify_all()
                return chunk
            if self._error is not None:
                raise self._error
            return None

    async def __anext__(self) -> str:
        while not self._lines:
            if self._text_ended:
                raise StopAsyncIteration
            chunk = await self._next_chunk()
            self._text_ended = chunk is None
            self._take_text(self._decoder.decode(chunk or b"", final=chunk is None), last=chunk is None)
        return self._lines.popleft()

    def _take_text(self, text: str, *, last: bool) -> None:
        if self._tty:
            self._lines.extend([text] if text else [])
            return
        *lines, self._part = (self._part + text).split("\n")
        self._lines.extend(line.removesuffix("\r") for line in lines)
        if last and self._part:
            self._lines.append(self._part)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come. Not to be mixed with iterating lines."""
        while (chunk := await self._next_chunk()) is not None:
            yield chunk

    async def read(self) -> bytes:
        """All bytes up to the end. Not to be mixed with iterating lines."""
        return b"".join([chunk async for chunk in self.chunks()])


class InputPeer(Protocol):
    """Who takes what is written."""

    async def write_stdin(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...


class Input:
    """Standard input of a command."""

    def __init__(self, peer: InputPeer) -> None:
        self._peer = peer
        self._closed = False

    async def send_input(self, data: bytes | str) -> None:
        """Write bytes, or text as UTF-8; waits while the command does not read.

        Raises BrokenPipeError when it will not read any more, InvalidStateError after `close`.
        """
        if self._closed:
            raise InvalidStateError("its stdin was closed", operation="send input")
        await self._peer.write_stdin(data.encode() if isinstance(data, str) else data)

    async def close(self) -> None:
        """The command reads end of file after what was written. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._peer.close_stdin()

    def is_closed(self) -> bool:
        """Was it closed from here?"""
        return self._closed
