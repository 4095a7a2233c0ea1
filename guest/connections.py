"""Connections of a restricted box as flows: a socket of the agent at one end, the network port at the other.

In an emulated processor it is the number of steps that costs, a connection's more than a byte's. So sockets are read and written as soon
as there is reason to, and what is told about them comes together, edge by edge (epoll(7)).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING

from guest.wire.constants import BOX_ADDRESS
from guest.wire.flows import (
    CREDIT,
    CREDIT_STEP_BYTES,
    FRAME,
    MAX_DATA_BYTES,
    TCP,
    WINDOW_BYTES,
    Kind,
    Reason,
    frame,
)

if TYPE_CHECKING:
    from guest.egress import NetworkPort

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_READING = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_READING_AND_WRITING = _READING | select.EPOLLOUT
_INCOMING = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP
_ACCEPT_AGAIN_S = 0.2

# Shared by all connections: what is read is copied out, behind its frame's header, before anything else runs.
_BUFFER = bytearray(FRAME.size + MAX_DATA_BYTES)
_READ_VIEW = memoryview(_BUFFER)[FRAME.size :]


class Listener:
    """Takes the connections that are led to one socket."""

    def __init__(self, port: NetworkPort, listener: socket.socket) -> None:
        listener.setblocking(False)
        self.fd = listener.fileno()
        self._listener = listener
        self._port = port
        port.poller.register(self)

    def on_event(self, events: int) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left, for now
                asyncio.get_running_loop().call_later(_ACCEPT_AGAIN_S, self.on_event, 0)
                return
            TcpFlow(self._port).adopt(connection)


class TcpFlow:
    """One connection: accepted from a program of the box (`adopt`), or made for the gateway (`connect`)."""

    def __init__(self, port: NetworkPort, number: int = 0) -> None:
        self.fd = -1
        self._port = port
        self._number = number
        self._socket: socket.socket | None = None
        self._is_connected = False
        self._untold = b""
        self._credit = WINDOW_BYTES
        self._taken = 0
        self._pending: deque[memoryview] = deque()
        self._is_readable = self._is_over = self._is_held_back = False
        self._ended_here = self._ended_there = False

    def adopt(self, connection: socket.socket) -> None:
        """Tell the gateway where it goes, together with what it says first, if that is there already."""
        connection.setblocking(False)
        host, port = connection.getsockname()[:2]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._number, self._untold = self._port.name_flow(self, TCP, socket.inet_pton(family, host), port)
        self._take(connection, _READING)
        self._is_connected = self._is_readable = True
        self._read()
        if self._untold:
            self._say(b"")

    def connect(self, port: int) -> None:
        """Reach a server in the box; until that stands, what comes for it is kept (at most a window)."""
        self._port.flows[self._number] = self
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        failure = connection.connect_ex((BOX_ADDRESS, port))
        if failure in (0, errno.EINPROGRESS):
            self._take(connection, _READING_AND_WRITING)
            return
        connection.close()
        self._forget(_reason(failure))

    # ------------------------------------------------------------ the program's side

    def on_event(self, events: int) -> None:
        if self._socket is None:
            return
        if not self._is_connected:
            self._on_connected(self._socket)
        elif events & select.EPOLLERR:
            self._lose()
        elif events & select.EPOLLOUT:
            self._flush()
        if events & _INCOMING and self._socket is not None:
            self._is_readable = True
            self._is_over = self._is_over or bool(events & _ENDED)
            self._read()

    def resume(self) -> None:
        """The port has room again."""
        self._is_held_back = False
        self._read()

    def _on_connected(self, connection: socket.socket) -> None:
        failure = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self._close()
            self._forget(_reason(failure))
            return
        self._is_connected = True
        self._flush()

    def _read(self) -> None:
        while self._may_read() and self._socket is not None:
            wanted = min(self._credit, MAX_DATA_BYTES)
            try:
                count = self._socket.recv_into(_READ_VIEW, wanted)
            except BlockingIOError:
                self._is_readable = False
                return
            except OSError:
                self._lose()
                return
            if not count:
                self._end_here()
                return
            FRAME.pack_into(_BUFFER, 0, Kind.DATA, self._number, count)
            self._say(bytes(_BUFFER[: FRAME.size + count]))
            self._credit -= count
            if count < wanted and not self._is_over:
                self._is_readable = False  # there was no more
            self._is_held_back = self._port.hold_back(self)

    def _may_read(self) -> bool:
        return self._is_readable and self._credit > 0 and not (self._ended_here or self._is_held_back)

    def _end_here(self) -> None:
        self._ended_here = True
        self._say(frame(Kind.END, self._number))
        if self._ended_there and not self._pending:
            self._finish()

    def _flush(self) -> None:
        """Give the program what it had no room for. Its socket may be gone afterwards."""
        while self._pending and self._socket is not None:
            piece = self._pending.popleft()
            sent = self._send(piece)
            if sent is None:
                return
            if sent < len(piece):
                self._pending.appendleft(piece[sent:])
                return
        if self._socket is not None:
            self._port.poller.modify(self.fd, _READING)
            if self._ended_there:
                self._end_program_s_input()

    def _send(self, piece: bytes | memoryview) -> int | None:
        """How much of it the program's socket took; None when that was lost."""
        assert self._socket is not None
        try:
            sent = self._socket.send(piece)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return None
        self._taken += sent
        if self._taken >= CREDIT_STEP_BYTES:
            self._port.write(frame(Kind.CREDIT, self._number, CREDIT.pack(self._taken)))
            self._taken = 0
        return sent

    def _end_program_s_input(self) -> None:
        if self._ended_here:
            self._finish()
        elif self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    # ------------------------------------------------------------ the gateway's side

    def receive(self, kind: int, payload: bytes) -> None:
        match kind:
            case Kind.DATA:
                self._receive_data(payload)
            case Kind.CREDIT:
                self._credit += CREDIT.unpack(payload)[0]
                self._read()
            case Kind.END:
                self._ended_there = True
                if self._is_connected and not self._pending:
                    self._end_program_s_input()
            case Kind.RESET:
                self._port.flows.pop(self._number, None)
                if self._socket is not None:
                    with contextlib.suppress(OSError):
                        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    self._close()

    def _receive_data(self, payload: bytes) -> None:
        if not self._is_connected or self._pending:
            self._pending.append(memoryview(payload))
            return
        sent = self._send(payload)
        if sent is not None and sent < len(payload):
            self._pending.append(memoryview(payload)[sent:])
            self._port.poller.modify(self.fd, _READING_AND_WRITING)

    # ------------------------------------------------------------ both

    def _take(self, connection: socket.socket, edges: int) -> None:
        self._socket = connection
        self.fd = connection.fileno()
        self._port.poller.register(self, edges)

    def _say(self, told: bytes) -> None:
        self._port.write(self._untold + told)
        self._untold = b""

    def _lose(self) -> None:
        self._close()
        if self._number in self._port.flows:
            self._forget(Reason.LOST)

    def _finish(self) -> None:
        self._port.flows.pop(self._number, None)
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._port.poller.unregister(self.fd)
            self._socket.close()
            self._socket = None
        self._pending.clear()

    def _forget(self, reason: Reason) -> None:
        self._port.flows.pop(self._number, None)
        self._say(frame(Kind.RESET, self._number, bytes((reason,))))


def _reason(failure: int) -> Reason:
    return Reason.REFUSED if failure == errno.ECONNREFUSED else Reason.UNREACHABLE
