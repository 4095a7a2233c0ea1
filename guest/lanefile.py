"""A lane as the file that a process of its own reads or writes: frames in large pieces, with as little as possible done
for each.

The port never blocks in the kernel: a blocking write would spin there until the host has taken it all
(drivers/char/virtio_console.c, __send_to_port).
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections import deque

from guest.ports import GATHER_BYTES, GATHER_S, READ_PIECE, WRITE_PIECE
from guest.wire.constants import LANE_HEADER
from guest.wire.frames import FrameError, FrameParser

_READ_BYTES = 256 * 1024
_GATHER_BYTES = 256 * 1024
_DATA = 1


class LaneSource:
    """Reads stream 1 of a lane, up to its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._pieces = [self._buffer[at : at + READ_PIECE] for at in range(0, _READ_BYTES, READ_PIECE)]
        self._parser = FrameParser()
        self._parts: deque[memoryview] = deque()
        self._ended = False
        self._got_little = False

    def read(self, size: int) -> bytes:
        """At most `size` bytes; empty only at the end. Raises OSError when the client goes away before."""
        return bytes(self._take(size))

    def copy_to(self, fd: int, size: int) -> int:
        """Write at most `size` bytes to a file; how many there were, 0 only at the end."""
        part = self._take(size)
        left = part
        while left:
            left = left[os.write(fd, left) :]
        return len(part)

    def _take(self, size: int) -> memoryview:
        """The next bytes, in place: good until the next call."""
        while not self._parts:
            if self._ended:
                return memoryview(b"")
            self._fill()
        part = self._parts[0]
        if len(part) > size:
            self._parts[0] = part[size:]
            return part[:size]
        return self._parts.popleft()

    def _fill(self) -> None:
        try:
            for _, part in self._parser.feed(self._buffer[: self._receive()]):
                if part:
                    self._parts.append(part)
                else:
                    self._ended = True
        except FrameError as error:
            raise OSError(errno.EPROTO, f"not a frame: {error}") from error

    def _receive(self) -> int:
        if self._got_little:
            time.sleep(GATHER_S)
        while True:
            try:
                count = os.readv(self._fd, self._pieces)
            except BlockingIOError:
                _wait(self._fd, select.POLLIN)
                continue
            if not count:
                raise _lost()
            self._got_little = count < GATHER_BYTES
            return count


class LaneSink:
    """Writes stream 1 of a lane: small pieces gathered, large ones as they are. `close` ends the stream."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._gathered = bytearray()
        self._written = 0

    def tell(self) -> int:
        return self._written

    def write(self, data: bytes | bytearray | memoryview) -> int:
        size = len(data)
        self._written += size
        if size < _GATHER_BYTES:
            self._gathered += data
            if len(self._gathered) >= _GATHER_BYTES:
                self.flush()
        else:
            self.flush()
            self._send(memoryview(data))
        return size

    def flush(self) -> None:
        if self._gathered:
            self._send(memoryview(bytes(self._gathered)))
            self._gathered.clear()

    def close(self) -> None:
        self.flush()
        self._send(memoryview(b""))

    def _send(self, data: memoryview) -> None:
        pieces = [memoryview(LANE_HEADER.pack(_DATA, len(data)))]
        pieces += [data[at : at + WRITE_PIECE] for at in range(0, len(data), WRITE_PIECE)]
        while pieces:
            try:
                written = os.writev(self._fd, pieces)
            except BlockingIOError:
                _wait(self._fd, select.POLLOUT)
                continue
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.pop(0))
            if written:
                pieces[0] = pieces[0][written:]


def _wait(fd: int, events: int) -> None:
    """Until the port is ready. A full queue of the device is not always announced when it has room again."""
    poll = select.poll()
    poll.register(fd, events)
    for _, happened in poll.poll(200):
        if happened & (select.POLLHUP | select.POLLERR) and not happened & events:
            raise _lost()


def _lost() -> OSError:
    return OSError(errno.EPIPE, "the host closed its side of the copy")
