"""Connections to servers, direct or through a proxy, kept for the next request."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, cast

from engine.images.proxies import Proxy

PORTS = {"http": 80, "https": 443}
_MAX_IDLE = 16


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


class Origin(NamedTuple):
    """A server. `scheme` is http or https; `host` has no brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        """Without the port that goes without saying (RFC 9110, 7.2)."""
        is_usual = PORTS[self.scheme] == self.port
        return self.authority.removesuffix(f":{self.port}") if is_usual else self.authority


@dataclass(slots=True, eq=False)
class Kept:
    """A connection in use: to be given back, or dropped."""

    connection: http.client.HTTPConnection
    socket: socket.socket
    _owner: Connections
    _way: tuple[Origin, Proxy | None]

    def give_back(self) -> None:
        self._owner.give_back(self, self._way)

    def drop(self) -> None:
        self._owner.forget(self)
        self.connection.close()


class Connections:
    """Any number of threads may use one."""

    def __init__(
        self,
        *,
        new_context: Callable[[], ssl.SSLContext],
        connect_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self._new_context = new_context
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._lock = Lock()
        self._context: ssl.SSLContext | None = None
        self._idle: dict[tuple[Origin, Proxy | None], list[Kept]] = {}
        self._used: set[Kept] = set()
        self._is_closed = self._is_aborted = False

    def close(self) -> None:
        """Close those that are idle; one that is given back later is closed then."""
        with self._lock:
            idle, self._idle = self._idle, {}
            self._is_closed = True
        for kept in (kept for some in idle.values() for kept in some):
            kept.drop()

    def take(self, origin: Origin, proxy: Proxy | None) -> Kept:
        """One that is idle, or a new one. Raises HttpError and its kinds, ConfigError."""
        way = (origin, proxy)
        while True:
            with self._lock:
                idle = self._idle.get(way)
                kept = idle.pop() if idle else None
            if kept is None:
                kept = self._new(origin, proxy)
            elif _is_dropped(kept.connection):
                kept.drop()
                continue
            with self._lock:
                self._used.add(kept)
                is_aborted = self._is_aborted
            if is_aborted:
                kept.drop()
                raise HttpError("the request was given up")
            return kept

    def give_back(self, kept: Kept, way: tuple[Origin, Proxy | None]) -> None:
        with self._lock:
            self._used.discard(kept)
            idle = self._idle.setdefault(way, [])
            if not self._is_closed and len(idle) < _MAX_IDLE:
                idle.append(kept)
                return
        kept.drop()

    def forget(self, kept: Kept) -> None:
        with self._lock:
            self._used.discard(kept)

    def abort(self) -> None:
        """Shut down those that are in use: who reads from one meets its end, or an OSError. There will be no others."""
        with self._lock:
            self._is_aborted = True
            used = list(self._used)
        for kept in used:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(
                    kept.socket, socket.SHUT_RDWR
                )  # below TLS, which another thread may be in

    def _new(self, origin: Origin, proxy: Proxy | None) -> Kept:
        connection = http.client.HTTPConnection(origin.host, origin.port)
        connected = self._open_socket(origin, proxy)
        try:
            if origin.scheme == "https":
                if proxy is not None:
                    _open_tunnel(connected, origin, proxy)
                connected = self._with_tls(connected, origin.host)
            connected.settimeout(self._read_timeout_s)
        except BaseException:
            connected.close()
            raise
        connection.sock = connected
        inner = connected if isinstance(connected, socket.socket) else connected.socket
        return Kept(connection, inner, self, (origin, proxy))

    def _open_socket(self, origin: Origin, proxy: Proxy | None) -> socket.socket:
        """Connected to the proxy, or to the server where there is none."""
        where = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
        try:
            connected = socket.create_connection((_plain(where[0]), where[1]), self._connect_timeout_s)
        except (OSError, UnicodeError) as error:
            kind = HttpError if proxy is None else ProxyFailedError
            raise kind(error, proxy=proxy) from error
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy is None or proxy.scheme == "http":
            return connected
        try:
            return self._with_tls(connected, proxy.host)
        except TlsError as error:
            connected.close()
            raise ProxyFailedError(error.reason, proxy=proxy) from error
        except BaseException:
            connected.close()
            raise

    def _with_tls(self, connected: socket.socket, host: str) -> socket.socket:
        try:
            with self._lock:
                if self._context is None:
                    self._context = self._new_context()
                    self._context.set_alpn_protocols(["http/1.1"])
            if not isinstance(connected, ssl.SSLSocket):
                return self._context.wrap_socket(connected, server_hostname=_plain(host))
            from urllib3.util.ssltransport import (
                SSLTransport,  # a tunnel through a proxy that is reached by TLS
            )

            return cast("socket.socket", SSLTransport(connected, self._context, server_hostname=host))
        except (OSError, ValueError) as error:
            raise TlsError(error) from error


def _open_tunnel(connected: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """Have the proxy lead on to the server (RFC 9110, 9.3.6)."""
    lines = [f"CONNECT {origin.authority} HTTP/1.1", f"Host: {origin.authority}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
    try:
        connected.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1"))
        answer = http.client.HTTPResponse(connected, method="CONNECT")
        with contextlib.closing(answer):
            answer.begin()
            status, reason = answer.status, answer.reason
    except (http.client.HTTPException, OSError, UnicodeError) as error:
        raise ProxyFailedError(error, proxy=proxy) from error
    if status != 200:
        raise ProxyFailedError(f"Tunnel connection failed: {status} {reason}", proxy=proxy)


def _plain(host: str) -> str:
    """As bytes, where it is ASCII: of text the library would make IDNA, and load a codec with large tables for it."""
    return cast("str", host.encode()) if host.isascii() else host


def _is_dropped(connection: http.client.HTTPConnection) -> bool:
    """Has the server closed it, or said something out of turn?"""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
