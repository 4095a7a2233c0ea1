"""Virtio-serial ports as asyncio transports.

A port whose host side is closed reports hang-up for as long as it stays closed, which would keep a level-triggered loop
busy. So all ports sit in an edge-triggered epoll of their own, and only that one is in the loop.

The kernel hands out one buffer (a page) a read and takes at most 32 KiB a write; readv and writev with pieces of just
these sizes move many of them in one system call (drivers/char/virtio_console.c).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from guest.wire.constants import HELLO_MAGIC, NONCE_BYTES, REPLY_MAGIC

_PORTS_DIR = Path("/sys/class/virtio-ports")
READ_PIECE = 4096
_READ_BYTES = 256 * 1024
WRITE_PIECE = 32 * 1024
_WRITE_PIECES = 16
GATHER_BYTES = 64 * 1024
GATHER_S = 0.001
"""Whoever reads a stream and got less than GATHER_BYTES waits that long: the host fills a page at a time, and many in one
read cost little more than one. The device has room for 512 KiB meanwhile."""

_HIGH_WATER = 512 * 1024
_LOW_WATER = 128 * 1024
_WRITE_RETRY_S = 0.2

# Shared by all ports: what is read is copied out before anything else runs.
_READ_BUFFER = memoryview(bytearray(_READ_BYTES))
_READ_PIECES = [_READ_BUFFER[at : at + READ_PIECE] for at in range(0, _READ_BYTES, READ_PIECE)]

_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLHUP | select.EPOLLET


def find_ports(directory: Path = _PORTS_DIR) -> dict[str, Path]:
    """The machine's named ports and their device files; the numbers in these change with every machine."""
    ports: dict[str, Path] = {}
    for entry in sorted(directory.iterdir()):
        name = (entry / "name").read_text().strip()
        if name:
            ports[name] = Path("/dev") / entry.name
    return ports


class Polled(Protocol):
    """What has a descriptor, and wants to know when it can be read or written (epoll(7))."""

    fd: int

    def on_event(self, events: int) -> None: ...


class PortPoller:
    """Calls `on_event` of each registered port, or socket, when its state changes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._ports: dict[int, Polled] = {}
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    def register(self, port: Polled, edges: int = _EDGES) -> None:
        self._ports[port.fd] = port
        self._epoll.register(port.fd, edges)

    def modify(self, fd: int, edges: int) -> None:
        self._epoll.modify(fd, edges)

    def unregister(self, fd: int) -> None:
        """Before it is closed."""
        self._epoll.unregister(fd)
        del self._ports[fd]

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _dispatch(self) -> None:
        for fd, events in self._epoll.poll(0):
            port = self._ports.get(fd)
            if port is not None:  # not closed by another's event
                port.on_event(events)


class Port:
    """One open port: non-blocking reads of what is there, writes that queue what does not fit."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._queue: deque[memoryview] = deque()
        self._queued_bytes = 0
        self._retry: asyncio.TimerHandle | None = None

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    def on_event(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self.flush()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), WRITE_PIECE):
            self._queue.append(view[start : start + WRITE_PIECE])
        self._queued_bytes += len(view)
        self.flush()

    def discard(self) -> None:
        """Forget what is queued: nobody is there to read it."""
        self._queue.clear()
        self._queued_bytes = 0

    def flush(self) -> None:
        while self._queue:
            pieces = [self._queue[i] for i in range(min(len(self._queue), _WRITE_PIECES))]
            try:
                written = os.writev(self.fd, pieces)
            except BlockingIOError:
                self._retry_later()
                break
            except OSError:
                self.discard()
                break
            self._queued_bytes -= written
            while written:
                piece = self._queue.popleft()
                if written < len(piece):
                    self._queue.appendleft(piece[written:])
                    break
                written -= len(piece)
        self.on_flushed()

    def on_flushed(self) -> None:
        """Called after every attempt to empty the queue."""

    def _retry_later(self) -> None:
        """A full queue of the device is not always announced when it has room again."""
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(_WRITE_RETRY_S, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self.flush()

    def read(self) -> bytes | None:
        """What has arrived (up to 256 KiB), b"" when the host's side is closed, None when there is nothing."""
        try:
            count = os.readv(self.fd, _READ_PIECES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return _READ_BUFFER[:count].tobytes()


class Preamble:
    """Finds a client's hello, `magic` and `length` bytes, in whatever an earlier client left before it."""

    def __init__(self, magic: bytes, length: int) -> None:
        self._magic = magic
        self._length = length
        self._tail = b""

    def feed(self, received: bytes) -> tuple[bytes, bytes] | None:
        """What follows the magic of the last hello, and what comes after that; None while there is no whole hello."""
        data = self._tail + received
        start = data.rfind(self._magic)
        if start < 0:
            self._tail = data[-(len(self._magic) - 1) :]
            return None
        begin = start + len(self._magic)
        end = begin + self._length
        if len(data) < end:
            self._tail = data[start:]
            return None
        self._tail = b""
        return data[begin:end], data[end:]

    def clear(self) -> None:
        self._tail = b""


class PortalPort(Port):
    """A port that serves one client after the other: preamble, then a protocol of its own for each.

    `make_protocol` is called once a client has said hello; the bytes before are an earlier client's and dropped.
    """

    def __init__(self, fd: int, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        super().__init__(fd)
        self._make_protocol = make_protocol
        self._session: PortTransport | None = None
        self._next: PortTransport | None = self._prepare_session()
        self._preamble = Preamble(HELLO_MAGIC, NONCE_BYTES)
        self._reading_paused = False

    @property
    def is_taken(self) -> bool:
        """Has a client said hello, and not gone?"""
        return self._session is not None

    def on_event(self, events: int) -> None:
        super().on_event(events)
        if events & select.EPOLLHUP:
            self._client_gone()  # before reading: the next client's hello may be there already
        if events & (select.EPOLLIN | select.EPOLLHUP):
            self._read_available()

    def _read_available(self) -> None:
        while not self._reading_paused:
            received = self.read()
            if not received:
                return
            self._feed(received)

    def _feed(self, received: bytes) -> None:
        if self._session is not None:
            self._session.protocol.data_received(received)
            if self._session is not None:
                return
            # The session ended over these bytes; a hello may follow in them.
        self._feed_preamble(received)

    def _feed_preamble(self, received: bytes) -> None:
        found = self._preamble.feed(received)
        if found is None:
            return
        nonce, rest = found
        self.discard()
        self.write(REPLY_MAGIC + nonce)
        self._session, self._next = self._next, None
        if self._session is None:
            self._session = self._prepare_session()
        self._session.open()
        if rest:
            self._feed(rest)

    def _prepare_session(self) -> PortTransport:
        """The next client's session, with all that needs no client done: a template then has it ready."""
        session = PortTransport(self, self._make_protocol())
        session.protocol.connection_made(session)
        return session

    def _client_gone(self) -> None:
        self.discard()
        self._preamble.clear()
        self.end_session(None)

    def end_session(self, reason: Exception | None) -> None:
        session, self._session = self._session, None
        self._reading_paused = False
        if session is not None:
            session.finish(reason)

    def on_flushed(self) -> None:
        if self._session is not None:
            self._session.update_flow(self.queued_bytes)

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            asyncio.get_running_loop().call_soon(self._read_available)


class PortTransport(asyncio.Transport):
    """What one client's protocol writes to. Closing it leaves the port open for the next client."""

    def __init__(self, port: PortalPort, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self._port = port
        self._closing = False
        self._writing_paused = False
        self._unsent: bytearray | None = bytearray()

    def open(self) -> None:
        """The client is there: send what was written before."""
        unsent, self._unsent = self._unsent, None
        if unsent and not self._closing:
            self._port.write(unsent)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written meanwhile is sent at the end, or when anything else has its turn: its writer may wait for an
        answer."""
        if self._unsent is not None or self._closing:
            yield
            return
        self._unsent = bytearray()
        turn = asyncio.get_running_loop().call_soon(self.open)
        try:
            yield
        finally:
            turn.cancel()
            self.open()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._unsent is not None:
            self._unsent += data
        elif not self._closing:
            self._port.write(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._port.end_session(None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        self._port.pause_reading()

    def resume_reading(self) -> None:
        self._port.resume_reading()

    def finish(self, reason: Exception | None) -> None:
        """The client is gone, or the protocol closed the connection: say so once, outside of its own call."""
        self._closing = True
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, reason)

    def update_flow(self, queued_bytes: int) -> None:
        if self._writing_paused and queued_bytes <= _LOW_WATER:
            self._writing_paused = False
            self.protocol.resume_writing()
        elif not self._writing_paused and queued_bytes >= _HIGH_WATER:
            self._writing_paused = True
            self.protocol.pause_writing()
