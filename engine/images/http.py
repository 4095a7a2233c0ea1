"""HTTP as a registry's client needs it, over urllib3: connections that are kept, proxies, redirects.

requests would do it too, at more cost of loading; and its reading of NO_PROXY is not that of docker and podman.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from threading import Lock
from typing import IO, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from engine.images.proxies import Proxy, find_proxy

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_DRAINED_BYTES = 1 << 16
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"
_PORTS = {"http": 80, "https": 443}
_CONNECTIONS = 16
urllib3.disable_warnings(InsecureRequestWarning)  # `skip_verify` is somebody's own wish

READ_ERRORS = (HTTPError, OSError)
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


class Response:
    """An answer whose body is still to be read, in a `with` block. Its connection is used again when the body was read."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str) -> None:
        self._raw = raw
        self.url = url
        self.status = raw.status
        self.reason = raw.reason
        self.headers = raw.headers

    def read(self, size: int | None = None) -> bytes:
        """The next bytes of the body, `b""` at its end. Raises READ_ERRORS, also when it ends early."""
        return self._raw.read(size, decode_content=False)

    def close(self) -> None:
        left = self._raw.length_remaining
        if left is not None and left <= _MAX_DRAINED_BYTES:
            self._raw.drain_conn()
            self._raw.release_conn()
        else:
            self._raw.close()

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
        self._timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)
        self._lock = Lock()
        self._managers: dict[tuple[str, Proxy | None], urllib3.PoolManager] = {}
        self._connected: WeakSet[HTTPConnection] = WeakSet()
        self._pools = _pools_that_tell(self._note)

    def close(self) -> None:
        """Let go of the connections nobody uses, and of each of the others when its answer is closed."""
        with self._lock:
            managers = list(self._managers.values())
            self._managers.clear()
        for manager in managers:
            manager.clear()

    def abort(self) -> None:
        """Break off every request that waits for an answer, in whatever thread: it gets one of READ_ERRORS, or HttpError."""
        with self._lock:
            connections = list(self._connected)
        for connection in connections:
            # Of TLS, and of TLS within TLS, the socket below: the other thread is in the middle of using the layer above.
            below = getattr(connection.sock, "socket", connection.sock)
            if below is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(below, socket.SHUT_RDWR)

    def _note(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._connected.add(connection)

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
        """The proxy that leads there. Raises ConfigError, HttpError."""
        parts = urlsplit(url)
        try:
            if parts.scheme not in _PORTS or not parts.hostname:
                raise ValueError(f"{url!r} is no address of a server")
            port = parts.port or _PORTS[parts.scheme]
        except ValueError as error:
            raise HttpError(error) from error
        return find_proxy(self._variables, parts.scheme, parts.hostname, port)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Response:
        proxy = self.proxy_for(url)
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        try:
            raw = self._manager(urlsplit(url).scheme, proxy).request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError, ValueError) as error:
            raise _failure(error, proxy) from error
        return Response(raw, url)

    def _manager(self, scheme: str, proxy: Proxy | None) -> urllib3.PoolManager:
        with self._lock:
            found = self._managers.get((scheme, proxy))
            if found is None:
                found = self._managers[scheme, proxy] = self._new_manager(scheme, proxy)
            return found

    def _new_manager(self, scheme: str, proxy: Proxy | None) -> urllib3.PoolManager:
        context = self._new_context() if scheme == "https" or (proxy and proxy.scheme == "https") else None
        options: dict[str, Any] = {"maxsize": _CONNECTIONS, "ssl_context": context}
        manager = (
            urllib3.PoolManager(**options)
            if proxy is None
            else urllib3.ProxyManager(
                f"{proxy.scheme}://{proxy.address}",
                proxy_headers=proxy.headers,
                proxy_ssl_context=context,
                **options,
            )
        )
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools_that_tell(note: Callable[[HTTPConnection], None]) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's own pools and connections, each of which is noted once it is there."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            note(self)

        def _new_conn(self) -> socket.socket:
            return _connected(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            note(self)

        def _new_conn(self) -> socket.socket:
            return _connected(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _connected(connection: HTTPConnection) -> socket.socket:
    """Connect as urllib3 does, with its errors, but for names in ASCII without IDNA, whose tables take 5 ms to load."""
    host = connection.host.strip("[]")
    try:
        made = socket.create_connection(
            (host.encode() if host.isascii() else host, connection.port),  # type: ignore[arg-type]  # bytes are fine
            connection.timeout,
            connection.source_address,
        )
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"connecting to {host} took too long") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
    for option in connection.socket_options or ():
        made.setsockopt(*option)
    return made


def _failure(error: BaseException, proxy: Proxy | None) -> HttpError:
    cause = _innermost(error)
    if isinstance(error, ProxyError) or (proxy is not None and isinstance(error, NewConnectionError)):
        return ProxyFailedError(cause, proxy=proxy)
    if isinstance(error, SSLError):
        return TlsError(cause, proxy=proxy)
    return HttpError(cause, proxy=proxy)


def _innermost(error: BaseException) -> BaseException:
    """What urllib3 wrapped."""
    while True:
        wrapped = [
            getattr(error, "original_error", None),
            getattr(error, "reason", None),
            *error.args,
            error.__cause__,
        ]
        inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
        if inner is None:
            return error
        error = inner


def _may_know(before: Any, after: Any) -> bool:
    """Is what was told the one to be told the other? Only the same server, or the same with TLS."""
    ports = [parts.port or _PORTS.get(parts.scheme) for parts in (before, after)]
    if before.hostname != after.hostname:
        return False
    upgraded = (before.scheme, after.scheme) == ("http", "https") and ports == [80, 443]
    return upgraded or (before.scheme == after.scheme and ports[0] == ports[1])
