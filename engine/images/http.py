"""HTTP as a registry's client needs it, over the standard library's: connections that are kept, proxies, redirects.

requests and urllib3 would do it too, at three times the cost of loading; and requests' reading of NO_PROXY is not that of
docker and podman.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from typing import IO, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from engine.images.connections import (
    PORTS,
    Connections,
    HttpError,
    Kept,
    Origin,
    ProxyFailedError,
    TlsError,
)
from engine.images.proxies import Proxy, find_proxy

__all__ = [
    "READ_ERRORS", "Body", "HttpClient", "HttpError", "ProxyFailedError", "Response", "TlsError",
]  # fmt: skip

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_DRAINED_BYTES = 1 << 16
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"

READ_ERRORS = (http.client.HTTPException, OSError)
"""What reading a body may raise when the connection breaks."""

Body = bytes | IO[bytes] | None


class Headers:
    """Those of an answer. What came several times is joined (RFC 9110, 5.3)."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def get(self, name: str, default: str = "") -> str:
        values = self._message.get_all(name)
        return default if values is None else ", ".join(str(value) for value in values)

    def items(self) -> Iterator[tuple[str, str]]:
        return ((name, self.get(name)) for name in dict.fromkeys(name.lower() for name in self._message))


class Response:
    """An answer whose body is still to be read, in a `with` block. Its connection is used again when the body was read."""

    def __init__(self, raw: http.client.HTTPResponse, url: str, kept: Kept) -> None:
        self._raw = raw
        self._kept = kept
        self.url = url
        self.status = raw.status
        self.reason = raw.reason
        self.headers = Headers(raw.headers)

    def read(self, size: int | None = None) -> bytes:
        """The next bytes of the body, `b""` at its end. Raises READ_ERRORS, also when it ends early."""
        left = self._raw.length
        piece = self._raw.read(size)
        if not piece and left and size != 0:
            raise http.client.IncompleteRead(piece, left)
        return piece

    def close(self) -> None:
        if not self._raw.will_close and 0 < (self._raw.length or 0) <= _MAX_DRAINED_BYTES:
            with contextlib.suppress(*READ_ERRORS):
                self._raw.read()
        if self._raw.isclosed() and not self._raw.will_close:
            self._kept.give_back()
        else:
            self._raw.close()
            self._kept.drop()

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
        self._connections = Connections(
            new_context=new_context, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s
        )

    def close(self) -> None:
        """Let go of the connections nobody uses, and of each of the others when its answer is closed."""
        self._connections.close()

    def abort(self) -> None:
        """Break off every request, in whatever thread: it gets one of READ_ERRORS, or HttpError."""
        self._connections.abort()

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
            target = response.headers.get("Location")
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
        return self._way_to(url)[1]

    def _way_to(self, url: str) -> tuple[Origin, Proxy | None]:
        parts = urlsplit(url)
        try:
            if parts.scheme not in PORTS or not parts.hostname:
                raise ValueError(f"{url!r} is no address of a server")
            origin = Origin(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme])
        except ValueError as error:
            raise HttpError(error) from error
        return origin, find_proxy(self._variables, *origin)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Response:
        origin, proxy = self._way_to(url)
        parts = urlsplit(quote(url, safe=_URL_CHARACTERS))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = dict(headers)
        if proxy is not None and origin.scheme == "http":  # the proxy itself is asked (RFC 9112, 3.2.2)
            target = f"http://{origin.authority}{target}"
            sent |= proxy.headers
        if body is not None and not isinstance(body, bytes):
            sent["Content-Length"] = str(body.seek(0, 2))
            body.seek(0)
        kept = self._connections.take(origin, proxy)
        try:
            kept.connection.request(method, target, body=body, headers={"Host": origin.host_header} | sent)
            raw = kept.connection.getresponse()
        except (*READ_ERRORS, ValueError) as error:
            kept.drop()
            raise HttpError(error, proxy=proxy) from error
        except BaseException:
            kept.drop()
            raise
        return Response(raw, url, kept)


def _may_know(before: Any, after: Any) -> bool:
    """Is what was told the one to be told the other? Only the same server, or the same with TLS."""
    ports = [parts.port or PORTS.get(parts.scheme) for parts in (before, after)]
    if before.hostname != after.hostname:
        return False
    upgraded = (before.scheme, after.scheme) == ("http", "https") and ports == [80, 443]
    return upgraded or (before.scheme == after.scheme and ports[0] == ports[1])
