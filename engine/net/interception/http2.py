"""HTTP/2 between a box and a server, stream by stream (RFC 9113), which is what gRPC needs. h2 reads and writes both sides.

A request of the box becomes a stream to the server. Bodies are passed on within both sides' flow control windows, and the
room a piece took is given back to its sender when it has been sent on: that is what bounds the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import h2.errors
import h2.events
import h2.exceptions
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple

from engine.net.flow import Flow
from engine.net.interception.goaway import goaway_frame
from engine.net.interception.http2_side import MAX_STREAMS, Exchange, Outgoing, Side, answer_refusal
from engine.net.interception.refusals import ProtocolViolationError, Refusal, check_request
from engine.net.interception.substitution import Header, Substitution

SETTINGS_TIMEOUT_S = 10.0
REFUSAL_TIMEOUT_S = 10.0


class Http2Relay:
    """Carries the streams of one connection. `count` is called for each request; `run` ends when either side has."""

    def __init__(
        self,
        box: Flow,
        server: Flow,
        substitution: Substitution,
        *,
        host: str,
        port: int,
        count: Callable[[], None],
    ) -> None:
        self._box = Side(box, client_side=False)
        self._server = Side(server, client_side=True)
        self._substitution = substitution
        self._host = host
        self._port = port
        self._count = count
        self._closing = False
        self._highest_box_stream = 0

    async def run(self) -> None:
        """Raises ConnectionError when a side was lost."""
        self._server.begin()
        tasks: list[asyncio.Task[None]] = [asyncio.create_task(self._server.write(self._box.give_back))]
        try:
            await self._await_settings()
            self._begin_box()
            tasks += [
                asyncio.create_task(self._box.write(self._server.give_back)),
                asyncio.create_task(self._read_box()),
                asyncio.create_task(self._read_server()),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._last_words()
            for task in done:
                task.result()
        except ProtocolViolationError as error:
            raise ConnectionAbortedError(f"HTTP/2: {error}") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _await_settings(self) -> None:
        """The server's settings come first (RFC 9113, 3.4): what it allows is what the box may be allowed."""
        try:
            async with asyncio.timeout(SETTINGS_TIMEOUT_S):
                while (events := await self._server.read()) is not None:
                    self._server.wake()
                    if any(isinstance(event, h2.events.RemoteSettingsChanged) for event in events):
                        return
        except TimeoutError:
            pass
        raise ConnectionResetError("the server did not begin to speak HTTP/2")

    def _begin_box(self) -> None:
        self._box.begin()
        limit = self._server.http.remote_settings.max_concurrent_streams
        if limit < MAX_STREAMS:  # a setting of its own, so that what the box sent before it is no error
            self._box.http.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: limit})
        self._box.wake()

    async def _last_words(self) -> None:
        """What is ready for the box, such as the reason why it is over, is still sent."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                for side in (self._box, self._server):
                    side.wake()
                    if side.pending:
                        message, side.pending = bytes(side.pending), bytearray()
                        await side.flow.write(message)
                await self._box.flow.write_eof()

    # ------------------------------------------------------------ the box speaks

    async def _read_box(self) -> None:
        while (events := await self._box.read()) is not None:
            for event in events:
                self._from_box(event)
            self._wake_both()
            if self._box.filter.said_goodbye and not self._box.exchanges:
                return
            await self._drained()

    def _from_box(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._request(event)
            case h2.events.DataReceived():
                self._pass_data(self._box, self._server, event)
            case h2.events.TrailersReceived():
                self._end(self._box, self._server, event.stream_id, list(event.headers))
            case h2.events.StreamEnded():
                self._end(self._box, self._server, event.stream_id)
            case h2.events.StreamReset():
                self._reset(self._box, self._server, event.stream_id, event.error_code)

    def _request(self, event: h2.events.RequestReceived) -> None:
        here = event.stream_id
        self._highest_box_stream = max(self._highest_box_stream, here)
        refusal = self._check(event.headers)
        if refusal is not None:
            answer_refusal(self._box, here, refusal)
            return
        server = self._server.http
        if self._closing or server.open_outbound_streams >= server.remote_settings.max_concurrent_streams:
            self._box.http.reset_stream(here, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        self._count()
        ended = event.stream_ended is not None
        there = server.get_next_available_stream_id()
        try:
            server.send_headers(there, self._outgoing(event.headers), end_stream=ended)
        except h2.exceptions.ProtocolError as error:
            answer_refusal(
                self._box, here, Refusal(status=400, reason=f"the request cannot be passed on: {error}")
            )
            return
        exchange = Exchange(box_stream=here, server_stream=there, request_ended=ended)
        self._box.exchanges[here] = self._server.exchanges[there] = exchange
        self._box.streams[here] = Outgoing(origin=there)
        if not ended:
            self._server.streams[there] = Outgoing(origin=here)

    def _check(self, headers: Sequence[Header]) -> Refusal | None:
        fields = dict(headers)
        return check_request(
            self._host,
            self._port,
            method=fields.get(b":method", b""),
            target=fields.get(b":path", b""),
            authorities=[value for name, value in headers if name in (b":authority", b"host")],
        )

    def _outgoing(self, headers: Sequence[Header]) -> list[Header]:
        """The headers of a request with the values in them, which no compression table remembers."""
        replaced = self._substitution.headers(
            (name, self._substitution.target(value) if name == b":path" else value) for name, value in headers
        )
        return [
            new if new[1] == old[1] else NeverIndexedHeaderTuple(*new)
            for old, new in zip(headers, replaced, strict=True)
        ]

    # ------------------------------------------------------------ the server speaks

    async def _read_server(self) -> None:
        while (events := await self._server.read()) is not None:
            for event in events:
                self._from_server(event)
            if self._server.filter.said_goodbye:
                self._begin_closing()
            self._wake_both()
            if self._closing and not self._server.exchanges:
                break
            await self._drained()
        for exchange in tuple(self._server.exchanges.values()):
            self._reset(self._server, self._box, exchange.server_stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        self._begin_closing()
        await self._box.emptied()

    def _begin_closing(self) -> None:
        """Tell the box to ask no more on this connection."""
        if not self._closing:
            self._closing = True
            self._box.wake()
            self._box.pending += goaway_frame(self._highest_box_stream)

    def _from_server(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self._answer(event.stream_id, event.headers, ended=event.stream_ended is not None)
            case h2.events.InformationalResponseReceived():
                self._answer(event.stream_id, event.headers, ended=False)
            case h2.events.DataReceived():
                self._pass_data(self._server, self._box, event)
            case h2.events.TrailersReceived():
                trailers = self._substitution.scrubbed(event.headers)
                self._end(self._server, self._box, event.stream_id, trailers)
            case h2.events.StreamEnded():
                self._end(self._server, self._box, event.stream_id)
            case h2.events.StreamReset():
                self._reset(self._server, self._box, event.stream_id, event.error_code)

    def _answer(self, stream_id: int, headers: Sequence[Header], *, ended: bool) -> None:
        """gRPC tells headers that end a stream from headers and then an end."""
        exchange = self._server.exchanges.get(stream_id)
        if exchange is None:
            return
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the box has reset it
            self._box.http.send_headers(
                exchange.box_stream, self._substitution.scrubbed(headers), end_stream=ended
            )
        if ended:
            self._box.streams.pop(exchange.box_stream, None)
            exchange.answer_ended = True
            self._forget_finished(exchange)

    # ------------------------------------------------------------ both ways

    def _pass_data(self, source: Side, sink: Side, event: h2.events.DataReceived) -> None:
        exchange = source.exchanges.get(event.stream_id)
        outgoing = None if exchange is None else sink.streams.get(self._there(exchange, sink))
        if outgoing is None:  # refused or reset: nobody wants it
            source.give_back(event.stream_id, event.flow_controlled_length)
        elif event.flow_controlled_length:
            outgoing.pieces.append((event.data, event.flow_controlled_length))

    def _end(self, source: Side, sink: Side, stream_id: int, trailers: list[Header] | None = None) -> None:
        exchange = source.exchanges.get(stream_id)
        if exchange is None:
            return
        outgoing = sink.streams.get(self._there(exchange, sink))
        if outgoing is not None and not outgoing.ended:
            outgoing.ended, outgoing.trailers = True, trailers
        if source is self._box:
            exchange.request_ended = True
        else:
            exchange.answer_ended = True
        self._forget_finished(exchange)

    def _reset(self, source: Side, sink: Side, stream_id: int, code: int) -> None:
        exchange = source.exchanges.get(stream_id)
        source.streams.pop(stream_id, None)
        if exchange is None:
            return
        there = self._there(exchange, sink)
        answered = source is self._server and exchange.answer_ended
        exchange.request_ended = exchange.answer_ended = True
        self._forget_finished(exchange)
        if answered:  # it just wants no more of the request; the rest of the answer may still be on its way
            return
        outgoing = sink.streams.pop(there, None)
        for _, room in outgoing.pieces if outgoing else ():
            source.give_back(stream_id, room)
        with contextlib.suppress(h2.exceptions.ProtocolError):
            sink.http.reset_stream(there, code)

    def _there(self, exchange: Exchange, sink: Side) -> int:
        return exchange.box_stream if sink is self._box else exchange.server_stream

    def _forget_finished(self, exchange: Exchange) -> None:
        if exchange.request_ended and exchange.answer_ended:
            self._box.exchanges.pop(exchange.box_stream, None)
            self._server.exchanges.pop(exchange.server_stream, None)

    async def _drained(self) -> None:
        await self._box.drained()
        await self._server.drained()

    def _wake_both(self) -> None:
        self._box.wake()
        self._server.wake()


async def refuse_http2(box: Flow, refusal: Refusal) -> None:
    """Answer the first request of a connection with a refusal. Raises ConnectionError, TimeoutError."""
    side = Side(box, client_side=False)
    side.begin()
    writing = asyncio.create_task(side.write(lambda stream_id, room: None))
    try:
        async with asyncio.timeout(REFUSAL_TIMEOUT_S):
            asked: list[int] = []
            while not asked and (events := await side.read()) is not None:
                asked = [event.stream_id for event in events if isinstance(event, h2.events.RequestReceived)]
            for stream_id in asked:
                answer_refusal(side, stream_id, refusal)
            side.wake()
            side.pending += goaway_frame(max(asked, default=0))
            await side.emptied()
            await box.write_eof()
            while await side.read() is not None:
                pass
    except ProtocolViolationError as error:
        raise ConnectionAbortedError(f"HTTP/2: {error}") from error
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
