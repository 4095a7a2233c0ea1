"""HTTP/1.1 between a box and a server, request by request (RFC 9112). h11 reads and writes both sides.

One connection of the box is one connection to the server, so that keep-alive, `Connection: close` and upgrades mean what
both sides think they mean. Nothing is held back: every piece is passed on as it comes, and no more is read than the other
side takes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

import h11
from h11._headers import Headers

from engine.net.flow import Flow
from engine.net.interception.refusals import ProtocolViolationError, Refusal, check_request
from engine.net.interception.substitution import Header, Substitution

MAX_HEAD_BYTES = 128 * 1024
"""Of a request's or an answer's headers."""
LINGER_S = 5.0
"""How long a client may go on sending after we have said the last word, before the connection is cut."""
LATE_UPLOAD_S = 30.0
"""How long a body may still come after its answer is complete."""

_CLEARTEXT_UPGRADE = frozenset({b"upgrade", b"http2-settings"})


class _ServerGoneError(ConnectionError):
    """The server takes no more of a request."""


class _BadAnswerError(Exception):
    """The server's answer is none, or has no end."""


class _Side:
    """One connection and its state. A read once begun goes on when its waiter is cancelled, and loses nothing."""

    def __init__(self, flow: Flow, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.flow = flow
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.ended = False
        self._reading: asyncio.Task[bytes] | None = None

    def reading(self) -> asyncio.Task[bytes]:
        if self._reading is None:
            self._reading = asyncio.create_task(self.flow.read())
        return self._reading

    async def receive(self) -> bytes:
        task = self.reading()
        await asyncio.wait((task,))
        self._reading = None
        data = task.result()
        self.ended = self.ended or not data
        return data

    async def take(self) -> bool:
        """Receive once, for the events to come; False at the end. Raises ProtocolViolationError, ConnectionError."""
        data = await self.receive()
        try:
            self.http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise ProtocolViolationError(str(error), error.error_status_hint) from error
        return bool(data)

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """Raises ProtocolViolationError, ConnectionError."""
        while True:
            event = self.buffered_event()
            if event is None:
                await self.take()
            else:
                return event

    def buffered_event(self) -> h11.Event | type[h11.PAUSED] | None:
        """What is there already, None: nothing whole. Raises ProtocolViolationError."""
        try:
            event = self.http.next_event()
        except h11.RemoteProtocolError as error:
            raise ProtocolViolationError(str(error), error.error_status_hint) from error
        return None if event is h11.NEED_DATA else cast("h11.Event | type[h11.PAUSED]", event)

    async def send(self, event: h11.Event) -> None:
        """Raises ConnectionError, and ProtocolViolationError for what cannot be said at this point."""
        try:
            message = self.http.send(event)
        except h11.LocalProtocolError as error:
            raise ProtocolViolationError(str(error)) from error
        if message:
            await self.flow.write(message)

    async def release(self) -> None:
        if self._reading is not None:
            await _cancel(self._reading)


class Http1Relay:
    """Carries the requests of one connection. `count` is called for each; `run` ends when either side has."""

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
        self._box = _Side(box, h11.SERVER)
        self._server = _Side(server, h11.CLIENT)
        self._substitution = substitution
        self._host = host
        self._port = port
        self._count = count

    async def run(self) -> None:
        """Raises ConnectionError when a side was lost in the middle of something."""
        try:
            first = True
            while (request := await self._next_request()) is not None:
                if not await self._exchange(request, first=first):
                    return
                first = False
        except ProtocolViolationError as error:
            reason = f"the request cannot be passed on: {error}"
            await self._refuse(Refusal(status=error.status, reason=reason))
        finally:
            await self._box.release()
            await self._server.release()

    async def _next_request(self) -> h11.Request | None:
        """None: one of the two has ended the connection, and the other will be told so."""
        while True:
            event = self._box.buffered_event()
            if event is not None:
                return event if isinstance(event, h11.Request) else None
            ours, theirs = self._box.reading(), self._server.reading()
            await asyncio.wait((ours, theirs), return_when=asyncio.FIRST_COMPLETED)
            if theirs.done():  # closed, or said something that nobody asked for
                return None
            await self._box.take()

    # ------------------------------------------------------------ one request and its answer

    async def _exchange(self, request: h11.Request, *, first: bool) -> bool:
        """Whether the connection may serve another request."""
        authorities = [value for name, value in request.headers if name == b"host"]
        refusal = check_request(
            self._host, self._port, method=request.method, target=request.target, authorities=authorities
        )
        if refusal is not None:
            await self._refuse(refusal)
            return False
        self._count()
        upload = asyncio.create_task(self._upload(request))
        answer = asyncio.create_task(self._answer(request, upload))
        try:
            if await self._while_box_listens(answer, upload):
                await self._relay_switched()
                return False
            return await self._finish(upload)
        except _BadAnswerError as error:
            if first or not (self._server.ended and self._unanswered):
                refusal = Refusal(status=502, reason=f"{self._host} did not answer properly: {error}")
                await self._refuse(refusal)
            return False  # else it was an idle connection that ended: clients know that, and ask again
        finally:
            await _cancel(answer, upload)

    def _outgoing(self, request: h11.Request) -> h11.Request:
        headers: list[Header] = request.headers.raw_items()
        if any(name == b"upgrade" and b"h2c" in value.lower() for name, value in request.headers):
            headers = [header for header in headers if header[0].lower() not in _CLEARTEXT_UPGRADE]
        return h11.Request(
            method=request.method,
            target=self._substitution.target(request.target),
            headers=self._substitution.headers(headers),
        )

    async def _upload(self, request: h11.Request) -> None:
        """The request; its body and its trailers as they are."""
        await self._to_server(self._outgoing(request))
        while True:
            event = await self._box.next_event()
            if isinstance(event, h11.Data):
                await self._to_server(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self._to_server(h11.EndOfMessage(headers=event.headers.raw_items()))
                return
            else:
                raise ConnectionAbortedError("the box ended the connection in the middle of a request")

    async def _to_server(self, event: h11.Event) -> None:
        try:
            await self._server.send(event)
        except ConnectionError as error:
            raise _ServerGoneError(str(error)) from error

    async def _while_box_listens(self, answer: asyncio.Task[bool], upload: asyncio.Task[None]) -> bool:
        """The result of `answer`. Raises ConnectionError when the box is lost before."""
        watch = asyncio.create_task(self._watch_box(upload))
        try:
            await asyncio.wait((answer, watch), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and isinstance(watch.exception(), _ServerGoneError):
                # It may have said why it takes no more.
                await asyncio.wait((answer,), timeout=LINGER_S)
            if answer.done():
                return answer.result()
            watch.result()
            raise AssertionError("a watch has no end but an error")
        finally:
            await _cancel(watch)

    async def _watch_box(self, upload: asyncio.Task[None]) -> None:
        """Raises what `upload` raises, or ConnectionError when the box does not wait for its answer."""
        await asyncio.shield(upload)
        if not await self._box.take():
            raise ConnectionAbortedError("the box ended the connection")
        await asyncio.Event().wait()  # a next request, which has its turn later

    async def _answer(self, request: h11.Request, upload: asyncio.Task[None]) -> bool:
        """Pass the answer on; True when it was that both now speak another protocol. Raises _BadAnswerError."""
        while True:
            event = await self._from_server()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    await asyncio.shield(upload)
                if request.http_version >= b"1.1":
                    await self._box.send(
                        h11.InformationalResponse(
                            status_code=event.status_code,
                            headers=self._scrubbed(event.headers),
                            reason=event.reason,
                        )
                    )
                if event.status_code == 101:
                    return True
            elif isinstance(event, h11.Response):
                headers = self._scrubbed(event.headers)
                if _ends_with_connection(event):
                    headers.append((b"Connection", b"close"))
                await self._box.send(
                    h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
                )
            elif isinstance(event, h11.Data):
                await self._box.send(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self._box.send(h11.EndOfMessage(headers=self._scrubbed(event.headers)))
                return False
            else:
                raise _BadAnswerError("it ended the connection")

    async def _from_server(self) -> h11.Event | type[h11.PAUSED]:
        try:
            return await self._server.next_event()
        except (ProtocolViolationError, ConnectionError) as error:
            raise _BadAnswerError(str(error)) from error

    def _scrubbed(self, headers: Headers) -> list[Header]:
        return self._substitution.scrubbed(headers.raw_items())

    @property
    def _unanswered(self) -> bool:
        return self._box.http.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    async def _finish(self, upload: asyncio.Task[None]) -> bool:
        """After the answer: wait for a body that is still on its way, if there is any sense in it."""
        if not self._box.http.they_are_waiting_for_100_continue:
            await asyncio.wait((upload,), timeout=LATE_UPLOAD_S)
        sides = (self._box.http, self._server.http)
        if all(state is h11.DONE for side in sides for state in (side.our_state, side.their_state)):
            self._box.http.start_next_cycle()
            self._server.http.start_next_cycle()
            return True
        await _say_goodbye(self._box)
        return False

    # ------------------------------------------------------------ other ends

    async def _relay_switched(self) -> None:
        """After 101: bytes, as they are, until either side ends."""
        for side, other in ((self._box, self._server), (self._server, self._box)):
            rest, _ = side.http.trailing_data
            if rest:
                await other.flow.write(rest)
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(self._box, self._server))
            group.create_task(_carry(self._server, self._box))

    async def _refuse(self, refusal: Refusal) -> None:
        await _refuse(self._box, refusal)


async def refuse_http1(box: Flow, refusal: Refusal) -> None:
    """Answer the first request of a connection with a refusal. Raises ConnectionError."""
    side = _Side(box, h11.SERVER)
    try:
        with contextlib.suppress(ProtocolViolationError):
            await side.next_event()
        await _refuse(side, refusal)
    finally:
        await side.release()


async def _refuse(box: _Side, refusal: Refusal) -> None:
    """Answer in the server's place, if it has not begun to, and end the connection."""
    if box.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        box.flow.abort()  # the client shall not take half an answer for a whole one
        return
    headers = [*refusal.headers, (b"connection", b"close")]
    await box.send(h11.Response(status_code=refusal.status, headers=headers))
    await box.send(h11.Data(data=refusal.body))
    await box.send(h11.EndOfMessage())
    await _say_goodbye(box)


async def _say_goodbye(box: _Side) -> None:
    """End our direction and take what still comes: closing at once could destroy the answer on its way (RFC 9112, 9.6)."""
    with contextlib.suppress(OSError, TimeoutError):
        await box.flow.write_eof()
        async with asyncio.timeout(LINGER_S):
            while await box.receive():
                pass


async def _carry(source: _Side, sink: _Side) -> None:
    while data := await source.receive():
        await sink.flow.write(data)
    await sink.flow.write_eof()


def _ends_with_connection(response: h11.Response) -> bool:
    """Is the end of its body, if it has one, that of the connection (RFC 9112, 6.3)?"""
    framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in response.headers)
    return response.http_version < b"1.1" or not (framed or response.status_code in (204, 304))


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
