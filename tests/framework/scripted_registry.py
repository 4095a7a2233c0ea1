"""A small registry that does what a test tells it to: for behaviour that a real one cannot be brought to show."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.framework.image_builder import BuiltImage


@dataclass
class Answer:
    """`cut_after` closes the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


Rule = Callable[[Asked], Answer | None]
"""Given a request, an answer that goes before the usual one."""


class ScriptedRegistry:
    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.rules: list[Rule] = []
        self.asked: list[Asked] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry._handle(self)

            do_POST = do_GET  # noqa: N815  the base class's name

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, tag: str, image: BuiltImage) -> str:
        """Serve an image as `test/image:TAG` and return its reference."""
        self.blobs |= image.blobs
        for digest, document in image.documents.items():
            self.manifests[digest] = document
        self.manifests[tag] = self.manifests[image.digest] = (image.document, image.media_type)
        return f"{self.host}/test/image:{tag}"

    def count(self, part: str) -> int:
        """How many requests had `part` in their path."""
        return sum(part in asked.path for asked in self.asked)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length", 0))
        asked = Asked(
            method=handler.command,
            path=parts.path,
            query=parse_qs(parts.query),
            headers={key.lower(): value for key, value in handler.headers.items()},
            body=handler.rfile.read(length),
        )
        self.asked.append(asked)
        ruled = (rule(asked) for rule in self.rules)
        answer = next((one for one in ruled if one is not None), None) or self.usual(asked)
        try:
            self._send(handler, answer)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):  # whoever asked has gone
            handler.close_connection = True

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        handler.send_response(answer.status)
        usual = {} if "Transfer-Encoding" in answer.headers else {"Content-Length": str(len(answer.body))}
        for name, value in (usual | answer.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer.body[: answer.cut_after])
        if answer.cut_after is not None:
            handler.close_connection = True
            handler.wfile.flush()
            handler.connection.shutdown(2)

    def usual(self, asked: Asked) -> Answer:
        """What a well-behaved registry would say."""
        kind, _, name = asked.path.rpartition("/")
        if kind.endswith("/manifests") and name in self.manifests:
            document, media_type = self.manifests[name]
            return Answer(body=document, headers={"Content-Type": media_type})
        if kind.endswith("/blobs") and name in self.blobs:
            return self.blob_answer(asked, self.blobs[name])
        if asked.path == "/v2/":
            return Answer(body=b"{}")
        errors = {"errors": [{"code": "NAME_UNKNOWN", "message": "no such thing"}]}
        return Answer(status=404, body=json.dumps(errors).encode())

    def blob_answer(self, asked: Asked, blob: bytes) -> Answer:
        wanted = asked.headers.get("range", "")
        if not wanted.startswith("bytes="):
            return Answer(body=blob)
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        where = f"bytes {start}-{len(blob) - 1}/{len(blob)}"
        return Answer(status=206, body=blob[start:], headers={"Content-Range": where})


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def scripted() -> Iterator[ScriptedRegistry]:
    registry = ScriptedRegistry()
    yield registry
    registry.stop()
