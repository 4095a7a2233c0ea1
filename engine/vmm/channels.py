"""Reading what a machine sends without being asked: its console and the agent's events. All of it is a stranger's
bytes: bounded, checked, never trusted to end a line."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

from engine.errors import DeadlineError
from engine.shown import printable_lines
from guest.wire.constants import MAX_EVENT_BYTES

CONSOLE_TAIL_BYTES = 8192
READ_BYTES = 65536
EVENT_BYTES_PER_S = 256 * 1024
"""How fast events are read; an agent that has something to say needs a hundredth of it."""


class ConsoleTail:
    """Keeps the last 8 KiB a machine printed on its console."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._begun = asyncio.Event()

    def add(self, chunk: bytes) -> None:
        self._tail += chunk
        del self._tail[:-CONSOLE_TAIL_BYTES]
        self._begun.set()

    async def wait_first(self, *, timeout_s: float) -> None:
        """Until something was printed, or the console is closed. Raises DeadlineError."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._begun.wait()
        except TimeoutError as error:
            raise DeadlineError(f"the machine printed nothing within {timeout_s:g} s of its start") from error

    @property
    def text(self) -> str:
        """The tail, with control characters other than line ends made visible."""
        return printable_lines(self._tail.decode("utf-8", "replace").replace("\r", "")).strip()

    async def follow(self, console: socket.socket) -> None:
        """Take in everything until the machine is gone."""
        async for chunk in chunks(console):
            self.add(chunk)
        self._begun.set()


async def chunks(
    channel: socket.socket, size_bytes: int = READ_BYTES, *, bytes_per_s: int | None = None
) -> AsyncIterator[bytes]:
    """What arrives on a channel, until its other end is closed; no faster than `bytes_per_s`.

    A read that finds something does not wait, so a guest that never stops sending would keep everybody else in this event
    loop from their turn: each gets one after every chunk.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            chunk = await loop.sock_recv(channel, size_bytes)
        except OSError:
            return
        if not chunk:
            return
        yield chunk
        await asyncio.sleep(len(chunk) / bytes_per_s if bytes_per_s else 0)


async def events(channel: socket.socket) -> AsyncIterator[dict[str, object]]:
    """The agent's events (see guest.wire.constants), until the machine is gone.

    A line that is too long or not an object with an "event" is dropped: a guest that lies loses its events.
    """
    pending = b""
    async for chunk in chunks(channel, bytes_per_s=EVENT_BYTES_PER_S):
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > MAX_EVENT_BYTES:
            pending = b""
        for line in lines:
            event = _parse_event(line)
            if event is not None:
                yield event


def _parse_event(line: bytes) -> dict[str, object] | None:
    if not line or len(line) > MAX_EVENT_BYTES:
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # the latter: brackets within brackets
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    return event
