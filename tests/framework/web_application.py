"""An ASGI application for tests, whose paths behave in the ways that matter."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote_plus


@dataclass(frozen=True)
class SeenRequest:
    """A request as a server got it. Header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    http_version: str
    body_bytes: int = 0
    body_sha256: str = ""
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class WebApplication:
    """An ASGI application whose paths behave in the ways that matter, and which remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[SeenRequest] = []
        self.released = threading.Event()
        """Set by a test to let /held go on."""

    @property
    def last(self) -> SeenRequest:
        return self.seen[-1]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            name = scope["path"].strip("/").replace("-", "_") or "echo"
            if name == "refuse_early":
                await self._answer(send, 413, body=b"too large\n")
                return
            request = await self._read(scope, receive)
            self.seen.append(request)
            await getattr(self, f"_{name}", self._echo)(request, send)

    async def _read(self, scope: dict[str, Any], receive: Receive) -> SeenRequest:
        digest, size, kept = sha256(), 0, b""
        while True:
            message = await receive()
            part = message.get("body", b"")
            digest.update(part)
            size += len(part)
            kept = (kept + part)[:65536]
            if not message.get("more_body"):
                break
        return SeenRequest(
            method=scope["method"],
            path=scope["raw_path"].decode(),
            query=scope["query_string"].decode(),
            headers={name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
            http_version=scope["http_version"],
            body_bytes=size,
            body_sha256=digest.hexdigest(),
            body=kept,
        )

    async def _answer(
        self, send: Send, status: int = 200, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"ok\n"
    ) -> None:
        fields = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        fields.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    async def _echo(self, request: SeenRequest, send: Send) -> None:
        shown = {"body_bytes": request.body_bytes, "sha256": request.body_sha256, "path": request.path}
        await self._answer(send, body=json.dumps(shown).encode())

    async def _reflect(self, request: SeenRequest, send: Send) -> None:
        """Every header and the query come back as headers."""
        headers = [(f"x-seen-{name}", value) for name, value in request.headers.items()]
        headers += [("x-query", request.query), ("x-query-plain", unquote_plus(request.query))]
        await self._answer(
            send, headers=(*headers, ("set-cookie", f"k={request.headers.get('x-api-key', '')}"))
        )

    async def _redirect(self, request: SeenRequest, send: Send) -> None:
        to = parse_qs(request.query)["to"][0]
        await self._answer(send, 302, headers=(("location", f"{to}?{request.query}"),))

    async def _chunked(self, request: SeenRequest, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(5):
            await send({"type": "http.response.body", "body": b"%d" % number * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    async def _held(self, request: SeenRequest, send: Send) -> None:
        """A first event at once; the second when the test has seen the first."""
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream")],
        }
        await send(start)
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        await asyncio.to_thread(self.released.wait, 20)
        await send({"type": "http.response.body", "body": b"data: second\n\n"})

    async def _large(self, request: SeenRequest, send: Send) -> None:
        size = int(parse_qs(request.query)["size"][0])
        fields = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        piece = bytes(range(256)) * 256
        for _ in range(size // len(piece)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _trailers(self, request: SeenRequest, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"trailer", b"x-key")],
            "trailers": True,
        }
        await send(start)
        await send({"type": "http.response.body", "body": b"body"})
        value = request.headers.get("x-api-key", "").encode()
        await send({"type": "http.response.trailers", "headers": [(b"x-key", value)], "more_trailers": False})

    async def _empty(self, request: SeenRequest, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _websocket(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.seen.append(
            SeenRequest("GET", scope["path"], scope["query_string"].decode(), headers, scope["http_version"])
        )
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            reply = {"type": "websocket.send"}
            await send(
                reply | {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
            )
