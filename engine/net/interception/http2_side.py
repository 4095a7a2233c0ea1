"""One side of an HTTP/2 connection that passes through the gateway: what h2 knows of it, and what is still to be sent on each
of its streams, in turns and within the windows (RFC 9113, section 5.2)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.settings import SettingCodes

from engine.net.flow import Flow
from engine.net.interception.goaway import GoAwayFilter
from engine.net.interception.refusals import ProtocolViolationError, Refusal
from engine.net.interception.substitution import Header

STREAM_WINDOW_BYTES = 512 * 1024
CONNECTION_WINDOW_BYTES = 2 * 1024 * 1024
MAX_STREAMS = 100
MAX_HEADER_BYTES = 128 * 1024
WRITE_BYTES = 256 * 1024
"""How much is put together for one write."""
BACKLOG_BYTES = 1024 * 1024
"""From how much unsent on no more is read from anybody: answers to pings and the like, which no window bounds."""


@dataclass(slots=True)
class Exchange:
    """A request and its answer: one stream on either side."""

    box_stream: int
    server_stream: int
    request_ended: bool = False
    answer_ended: bool = False


@dataclass(slots=True)
class Outgoing:
    """What is still to be sent on one stream: pieces with the room they took on the other side, then the end. `origin` is
    the stream on the other side, 0: it comes from ourselves."""

    origin: int
    pieces: deque[tuple[bytes, int]] = field(default_factory=deque)
    ended: bool = False
    trailers: list[Header] | None = None


class Side:
    """One connection: h2's state of it, what is to be sent, and the two tasks that move bytes."""

    def __init__(self, flow: Flow, *, client_side: bool) -> None:
        self.flow = flow
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=client_side, header_encoding=None)
        )
        self.http.local_settings = h2.settings.Settings(
            client=client_side,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
            },
        )
        self.streams: dict[int, Outgoing] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.filter = GoAwayFilter(preface=not client_side)
        self.pending = bytearray()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._emptied = asyncio.Event()

    def begin(self) -> None:
        self.http.initiate_connection()
        self.http.increment_flow_control_window(CONNECTION_WINDOW_BYTES - 65535)
        self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        self.pending += self.http.data_to_send()
        if len(self.pending) > BACKLOG_BYTES:
            self._drained.clear()
        self._wake.set()

    async def write(self, give_back: Callable[[int, int], None]) -> None:
        """Send what there is, for ever; `give_back` is told the stream of the other side and the room there that is free
        again. Raises ConnectionError."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while True:
                sent = self._take_pieces()
                self.pending += self.http.data_to_send()
                if not self.pending:
                    break
                message, self.pending = bytes(self.pending), bytearray()
                await self.flow.write(message)
                self._drained.set()
                for stream_id, room in sent:
                    give_back(stream_id, room)
            if not self.streams:
                self._emptied.set()

    async def drained(self) -> None:
        """Until there is not too much waiting to be sent."""
        await self._drained.wait()

    async def emptied(self) -> None:
        """Until everything on every stream has been sent. It goes on only while the peer is read from, too."""
        while self.streams or self.pending:
            self._emptied.clear()
            self.wake()
            await self._emptied.wait()

    async def read(self) -> list[h2.events.Event] | None:
        """What the peer says next; None at the end. Raises ProtocolViolationError, ConnectionError."""
        data = await self.flow.read()
        if not data:
            return None
        try:
            return self.http.receive_data(self.filter.feed(data))
        except h2.exceptions.ProtocolError as error:
            self.wake()  # h2 has a GOAWAY ready that says why
            raise ProtocolViolationError(str(error)) from error

    def give_back(self, stream_id: int, room: int) -> None:
        """Let the peer send again as much as was passed on."""
        if room:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.http.acknowledge_received_data(room, stream_id)
            self.wake()

    def _take_pieces(self) -> list[tuple[int, int]]:
        """Give h2 what the windows allow, in turns, up to WRITE_BYTES."""
        sent: list[tuple[int, int]] = []
        total = 0
        progress = True
        while progress and total < WRITE_BYTES:
            progress = False
            for stream_id in tuple(self.streams):
                size = self._send_piece(stream_id, sent)
                total += size
                progress = progress or size > 0
        return sent

    def _send_piece(self, stream_id: int, sent: list[tuple[int, int]]) -> int:
        outgoing = self.streams[stream_id]
        try:
            if outgoing.pieces:
                data, room = outgoing.pieces[0]
                allowed = min(
                    self.http.local_flow_control_window(stream_id),
                    self.http.max_outbound_frame_size,
                    WRITE_BYTES,
                )
                if allowed <= 0 and data:
                    return 0
                part, rest = data[:allowed], data[allowed:]
                self.http.send_data(stream_id, part)
                outgoing.pieces.popleft()
                if rest:
                    outgoing.pieces.appendleft((rest, room - len(part)))
                sent.append((outgoing.origin, len(part) if rest else room))
                return max(len(part), 1)
            if outgoing.ended:
                del self.streams[stream_id]
                if outgoing.trailers is not None:
                    self.http.send_headers(stream_id, outgoing.trailers, end_stream=True)
                else:
                    self.http.end_stream(stream_id)
        except h2.exceptions.ProtocolError:  # it was reset meanwhile
            self.streams.pop(stream_id, None)
            sent.extend((outgoing.origin, room) for _, room in outgoing.pieces)
        return 0


def answer_refusal(side: Side, stream_id: int, refusal: Refusal) -> None:
    """Answer in the server's place."""
    headers = [(b":status", str(refusal.status).encode()), *refusal.headers]
    with contextlib.suppress(h2.exceptions.ProtocolError):
        side.http.send_headers(stream_id, headers)
        side.streams[stream_id] = Outgoing(origin=0, pieces=deque([(refusal.body, 0)]), ended=True)
