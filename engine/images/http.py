"""HTTP/1.1 over the standard library: connections that are kept, proxies, redirects. What a registry's client needs, no more.

requests would do it too, at three times the cost of loading.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import IO, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from engine.images.proxies import Proxy, find_proxy

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_DRAINED_BYTES = 1 << 16
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"
_PORTS = {"http": 80, "https": 443}

READ_ERRORS = (http.client.HTTPException, OSError)
"""What reading a body may raise when the connection breaks."""

Body = bytes | IO[bytes] | None


class HttpError(Exception):
    """No answer came. `proxy` is the one that was asked for it."""

    def __init__(self, reason: BaseException | str, *, proxy: Proxy | None = None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.proxy = proxy


class TlsError(HttpError):
    """The two ends did not agree, or the other one is not who it should be."""


class ProxyFailedError(HttpError):
    """The proxy is not there, or does not lead where it should."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Whom a connection leads to, and through which proxy."""

    scheme: str
    host: str
    port: int
    proxy: Proxy | None


class Response:
    """An answer whose body is still to be read, in a `with` block. Its connection is used again when the body was read."""

    def __init__(self, raw: http.client.HTTPResponse, url: str, release: Callable[[bool], None]) -> None:
        self._raw = raw
        self._release = release
        self.url = url
        self.status = raw.status
        self.reason = raw.reason
        self.headers = raw.headers

    def read(self, size: int | None = None) -> bytes:
        """The next bytes of the body, `b""` at its end. Raises READ_ERRORS, also when it ends early."""
        data = self._raw.read(size)
        if not data and size != 0 and self._raw.length:
            raise http.client.IncompleteRead(b"", self._raw.length)
        return data

    def close(self) -> None:
        with contextlib.suppress(*READ_ERRORS):
            if self._raw.length is not None and self._raw.length <= _MAX_DRAINED_BYTES:
                self._raw.read()
        is_whole = self._raw.isclosed() and not self._raw.will_close
        self._raw.close()
        self._release(is_whole)

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HttpClient:
    """Any number of threads may use one. `variables` name the proxies."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str],
        variables: Mapping[str, str],
        new_context: Callable[[], ssl.SSLContext],
        connect_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self._headers = dict(headers)
        self._variables = variables
        self._new_context = new_context
        self._context: ssl.SSLContext | None = None
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._lock = Lock()
        self._is_closed = False
        self._idle: dict[_Origin, list[http.client.HTTPConnection]] = defaultdict(list)

    def close(self) -> None:
        """Let go of the connections nobody uses, and of each of the others when its answer is closed."""
        with self._lock:
            self._is_closed = True
            connections = [one for many in self._idle.values() for one in many]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        document: Any = None,
    ) -> Response:
        """Send a request, follow where the answers point, and give the last answer. Another host gets no Authorization.

        `form` and `document` (JSON) are bodies too. Raises HttpError and its kinds.
        """
        sent = self._headers | dict(headers or {})
        if form is not None:
            body, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
        elif document is not None:
            body, kind = json.dumps(document).encode(), "application/json"
        else:
            kind = ""
        if kind and "content-type" not in map(str.lower, sent):
            sent["Content-Type"] = kind
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._send(method, url, sent, body)
            target = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not target or method not in ("GET", "HEAD"):
                return response
            response.close()
            following = quote(urljoin(url, target), safe=_URL_CHARACTERS)
            if not _may_know(urlsplit(url), urlsplit(following)):
                sent.pop("Authorization", None)
            url = following
        raise HttpError(f"more than {_MAX_REDIRECTS} redirects")

    def proxy_for(self, url: str) -> Proxy | None:
        """The proxy that leads there. Raises ConfigError."""
        return _origin(url, self._variables).proxy

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Response:
        origin = _origin(url, self._variables)
        parts = urlsplit(url)
        target, sent = _request_target(url), {"Host": parts.netloc.rpartition("@")[2], **headers}
        if origin.proxy and origin.scheme == "http":
            target = parts._replace(fragment="").geturl()
            if origin.proxy.authorization:
                sent["Proxy-Authorization"] = origin.proxy.authorization
        if body is None and method in ("POST", "PUT", "PATCH"):
            body = b""
        while True:
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
            connection, is_new = self._connection(origin)
            try:
                connection.request(method, target, body=body, headers=sent)
                raw = connection.getresponse()
            except (http.client.HTTPException, OSError, ValueError) as error:
                connection.close()
                if not is_new and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                    continue  # it was closed while nobody used it
                raise HttpError(error, proxy=origin.proxy) from error
            return Response(raw, url, partial(self._give_back, origin, connection))

    def _connection(self, origin: _Origin) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._idle[origin]:
                return self._idle[origin].pop(), False
        connection = _Connection(origin, self._tls, self._connect_timeout_s)
        try:
            connection.connect()
        except BaseException as error:
            connection.close()
            if isinstance(error, ssl.SSLError):
                raise TlsError(error, proxy=origin.proxy) from error
            if isinstance(error, (OSError, http.client.HTTPException, ValueError)):
                kind = ProxyFailedError if origin.proxy else HttpError
                raise kind(error, proxy=origin.proxy) from error
            raise
        connection.sock.settimeout(self._read_timeout_s)
        return connection, True

    def _give_back(self, origin: _Origin, connection: http.client.HTTPConnection, good: bool) -> None:
        with self._lock:
            if good and not self._is_closed:
                self._idle[origin].append(connection)
                return
        connection.close()

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = self._new_context()
            return self._context


class _Connection(http.client.HTTPConnection):
    """A connection to the origin, or through the proxy to it."""

    def __init__(self, origin: _Origin, tls: Callable[[], ssl.SSLContext], timeout_s: float) -> None:
        first = origin.proxy or origin
        super().__init__(first.host, first.port, timeout=timeout_s)
        self._origin = origin
        self._tls = tls

    def connect(self) -> None:
        """Connect, and have TLS where the origin, or the proxy, speaks it."""
        proxy = self._origin.proxy
        self.sock = socket.create_connection((self.host, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy and proxy.scheme == "https":
            self.sock = self._tls().wrap_socket(self.sock, server_hostname=proxy.host)
        if self._origin.scheme != "https":
            return
        if proxy:
            self._open_tunnel(proxy)
        if isinstance(self.sock, ssl.SSLSocket):
            from urllib3.util.ssltransport import SSLTransport  # TLS within TLS: the standard library cannot

            self.sock = SSLTransport(self.sock, self._tls(), self._origin.host)
        else:
            self.sock = self._tls().wrap_socket(self.sock, server_hostname=self._origin.host)

    def _open_tunnel(self, proxy: Proxy) -> None:
        """RFC 9110, 9.3.6."""
        origin = self._origin
        target = f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        with contextlib.closing(http.client.HTTPResponse(self.sock, method="CONNECT")) as answer:
            answer.begin()
        if not 200 <= answer.status < 300:
            raise OSError(f"it answered {answer.status} {answer.reason}".rstrip())


def _origin(url: str, variables: Mapping[str, str]) -> _Origin:
    parts = urlsplit(url)
    try:
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server")
        port = parts.port or _PORTS[parts.scheme]
    except ValueError as error:
        raise HttpError(error) from error
    host = parts.hostname
    return _Origin(parts.scheme, host, port, find_proxy(variables, parts.scheme, host, port))


def _request_target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _may_know(before: Any, after: Any) -> bool:
    """Is what was told the one to be told the other? Only the same server, or the same with TLS."""
    ports = [parts.port or _PORTS.get(parts.scheme) for parts in (before, after)]
    if before.hostname != after.hostname:
        return False
    upgraded = (before.scheme, after.scheme) == ("http", "https") and ports == [80, 443]
    return upgraded or (before.scheme == after.scheme and ports[0] == ports[1])
