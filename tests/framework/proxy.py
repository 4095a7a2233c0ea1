"""A small forward proxy: tunnels by CONNECT, and plain requests in absolute form (RFC 9110, 9.3.6; RFC 9112, 3.2.2)."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.framework.certificates import Certificate

_CHUNK_BYTES = 1 << 16


class ForwardProxy:
    """`asked` has a line for every request that came: `CONNECT 127.0.0.1:5000`, `GET http://…`. With `credentials`
    (`user:password`) it serves nobody else; with `certificate` it is reached by TLS."""

    def __init__(self, credentials: str | None = None, certificate: Certificate | None = None) -> None:
        self.asked: list[str] = []
        proxy = self
        wanted = credentials and "Basic " + base64.b64encode(credentials.encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                if self._is_refused():
                    return
                host, _, port = self.path.rpartition(":")
                try:
                    upstream = socket.create_connection((host, int(port)), timeout=10)
                except OSError:
                    self.send_error(502)
                    return
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                with upstream:
                    back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
                    back.start()
                    _pump(self.connection, upstream)
                    back.join()

            def do_GET(self) -> None:
                if self._is_refused():
                    return
                parts = urlsplit(self.path)
                asked = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
                with contextlib.closing(HTTPConnection(parts.netloc, timeout=10)) as upstream:
                    upstream.request("GET", parts.path, headers=asked)
                    answer = upstream.getresponse()
                    body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _is_refused(self) -> bool:
                proxy.asked.append(f"{self.command} {self.path}")
                if wanted and self.headers.get("Proxy-Authorization") != wanted:
                    self.send_response(407)
                    self.send_header("Proxy-Authenticate", 'Basic realm="test"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return True
                return False

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
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


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_CHUNK_BYTES):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    running = ForwardProxy()
    yield running
    running.stop()


@pytest.fixture
def asking_proxy() -> Iterator[ForwardProxy]:
    """One that wants to know who asks: `ann:p%20ss` in a URL."""
    running = ForwardProxy("ann:p ss")
    yield running
    running.stop()


@pytest.fixture
def tls_proxy(certificate: Certificate) -> Iterator[ForwardProxy]:
    """One that is reached by TLS, with the registries' own certificate."""
    running = ForwardProxy(certificate=certificate)
    yield running
    running.stop()
