"""Reading the host name from the first bytes of a connection: TLS's server name, or HTTP's Host.

All of it is a stranger's bytes. What is ambiguous counts as nameless: two Host headers, two server names, a name
that is an address. Layouts: RFC 8446, section 4.1.2; RFC 6066, section 3; RFC 9112, section 3; RFC 9849 for ECH.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from engine.net.policy import Hello
from engine.net.rules import normal_name

MAX_HELLO_BYTES = 64 * 1024

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ENCRYPTED_CLIENT_HELLO, _ESNI = 0, 0xFE0D, 0xFFCE
_MAX_RECORD = 16384 + 256
_METHOD = re.compile(rb"[A-Z][A-Z_-]{0,31}")
"""Methods are case-sensitive, and all there are have capitals (RFC 9110, section 9.1)."""
_REQUEST_LINE = re.compile(rb"[A-Z][A-Z_-]{0,31} \S{1,16384} HTTP/1\.[01]")


class Speech(StrEnum):
    """Which protocol the first bytes belong to: it decides how a refusal is said."""

    TLS = "tls"
    HTTP = "http"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the first bytes of a connection say."""

    speech: Speech
    hello: Hello
    name: str | None = None


_NAMELESS = Opening(speech=Speech.OTHER, hello=Hello.NAMELESS)


def read_opening(data: bytes) -> Opening | None:
    """What the connection begins with; None while that cannot be told yet."""
    if not data:
        return None
    if data[0] == _HANDSHAKE:
        return _read_tls(data)
    return _read_http(data)


def _named(speech: Speech, names: list[bytes]) -> Opening:
    name = None
    if len(names) == 1:
        try:
            name = normal_name(names[0].decode("ascii"))
        except UnicodeDecodeError:
            name = None
    return Opening(speech=speech, hello=Hello.NAMED if name else Hello.NAMELESS, name=name)


# ---------------------------------------------------------------- TLS


class _MalformedError(Exception):
    """Not a ClientHello."""


class _Reader:
    """Takes fields from the front of a message."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise _MalformedError
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """Bytes behind their length, which takes `size` bytes."""
        return self.take(self.number(size))

    @property
    def is_empty(self) -> bool:
        return self._position >= len(self._data)


def _read_tls(data: bytes) -> Opening | None:
    handshake = b""
    position = 0
    while position < len(data):
        header = data[position : position + 5]
        if len(header) < 5:
            if len(header) > 1 and header[1] != 3:
                return _NAMELESS
            return None
        length = int.from_bytes(header[3:5])
        if header[0] != _HANDSHAKE or header[1] != 3 or not 0 < length <= _MAX_RECORD:
            return _NAMELESS
        piece = data[position + 5 : position + 5 + length]
        handshake += piece
        position += 5 + length
        if len(handshake) >= 4:
            needed = 4 + int.from_bytes(handshake[1:4])
            if handshake[0] != _CLIENT_HELLO or needed > MAX_HELLO_BYTES:
                return _NAMELESS
            if len(handshake) >= needed:
                try:
                    return _client_hello(handshake[4:needed])
                except _MalformedError:
                    return Opening(speech=Speech.TLS, hello=Hello.NAMELESS)
        if len(piece) < length:
            return None
    return None


def _client_hello(body: bytes) -> Opening:
    reader = _Reader(body)
    reader.take(2 + 32)  # version and random
    reader.vector(1)  # session
    reader.vector(2)  # cipher suites
    reader.vector(1)  # compression
    if reader.is_empty:
        return Opening(speech=Speech.TLS, hello=Hello.NAMELESS)
    extensions = _Reader(reader.vector(2))
    names: list[bytes] = []
    encrypted = False
    while not extensions.is_empty:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            names += _server_names(content)
        elif kind in (_ENCRYPTED_CLIENT_HELLO, _ESNI):
            encrypted = True
    if encrypted:
        return Opening(speech=Speech.TLS, hello=Hello.ENCRYPTED, name=_named(Speech.TLS, names).name)
    return _named(Speech.TLS, names)


def _server_names(content: bytes) -> list[bytes]:
    entries = _Reader(_Reader(content).vector(2))
    names = []
    while not entries.is_empty:
        kind, name = entries.number(1), entries.vector(2)
        if kind != 0:
            raise _MalformedError
        names.append(name)
    return names


# ---------------------------------------------------------------- HTTP


def _read_http(data: bytes) -> Opening | None:
    line, end, _ = data.partition(b"\n")
    if not end:
        method = line.partition(b" ")[0]
        could_be = _METHOD.fullmatch(method) and len(line) < MAX_HELLO_BYTES
        return None if could_be else _NAMELESS
    if not _REQUEST_LINE.fullmatch(line.rstrip(b"\r")):
        return _NAMELESS
    head, blank, _ = data.partition(b"\r\n\r\n")
    if not blank:
        if b"\n\n" in data or len(data) >= MAX_HELLO_BYTES:
            return Opening(speech=Speech.HTTP, hello=Hello.NAMELESS)
        return None
    hosts = []
    for field in head.split(b"\r\n")[1:]:
        key, colon, value = field.partition(b":")
        if not colon or b"\n" in field or b"\r" in field or b"\0" in field or key != key.strip() or not key:
            return Opening(speech=Speech.HTTP, hello=Hello.NAMELESS)
        if key.lower() == b"host":
            hosts.append(value.strip())
    target = line.split(b" ")[1]
    if b"://" in target.partition(b"?")[0]:  # the absolute form names the host, too: both must agree
        hosts += _authority(target, hosts)
    return _named(Speech.HTTP, [_without_port(host) for host in hosts])


def _authority(target: bytes, hosts: list[bytes]) -> list[bytes]:
    said = target.split(b"://", 1)[1].split(b"/", 1)[0].split(b"?", 1)[0]
    return [] if [host.lower() for host in hosts] == [said.lower()] else [said]


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return name if colon and port.isdigit() and b":" not in name else host
