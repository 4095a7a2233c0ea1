"""What a TLS client says of itself before anything is encrypted (RFC 8446, 4.1.2; RFC 6066, 3; RFC 7301)."""

from __future__ import annotations

from dataclasses import dataclass

MAX_HELLO_BYTES = 64 * 1024
_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ALPN = 16


class NotTlsError(ValueError):
    """The bytes are no ClientHello."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """`server_name` is in lower case, without a trailing dot; None: not said. `protocols` in the client's order."""

    server_name: str | None
    protocols: tuple[str, ...]


def parse_hello(received: bytes) -> ClientHello | None:
    """The ClientHello at the beginning of a connection; None: more bytes are needed. Raises NotTlsError."""
    message = b""
    offset = 0
    while True:
        if received[offset : offset + 1] not in (b"", bytes((_HANDSHAKE_RECORD,))):
            raise NotTlsError("it is not a TLS connection")
        if len(received) < offset + 5:
            _check_size(received)
            return None
        length = int.from_bytes(received[offset + 3 : offset + 5], "big")
        message += received[offset + 5 : offset + 5 + length]
        offset += 5 + length
        if len(message) >= 4:
            if message[0] != _CLIENT_HELLO:
                raise NotTlsError("it does not begin with a ClientHello")
            size = int.from_bytes(message[1:4], "big")
            if len(message) >= 4 + size:
                return _parse(message[4 : 4 + size])
        if len(received) <= offset:
            _check_size(received)
            return None


def _check_size(received: bytes) -> None:
    if len(received) > MAX_HELLO_BYTES:
        raise NotTlsError("its ClientHello has no end")


def _parse(body: bytes) -> ClientHello:
    fields = _Fields(body)
    fields.take(2 + 32)  # version, random
    fields.block(1)  # session
    fields.block(2)  # cipher suites
    fields.block(1)  # compression
    name: str | None = None
    protocols: tuple[str, ...] = ()
    extensions = _Fields(fields.block(2) if fields.more else b"")
    while extensions.more:
        kind, content = extensions.number(2), _Fields(extensions.block(2))
        if kind == _SERVER_NAME:
            names = _Fields(content.block(2))
            if names.number(1) == 0:
                name = names.block(2).decode("ascii", "replace").lower().removesuffix(".")
        elif kind == _ALPN:
            names = _Fields(content.block(2))
            found = []
            while names.more:
                found.append(names.block(1).decode("ascii", "replace"))
            protocols = tuple(found)
    return ClientHello(server_name=name, protocols=protocols)


class _Fields:
    """Reads numbers and counted blocks one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._offset = 0

    @property
    def more(self) -> bool:
        return self._offset < len(self._content)

    def take(self, count: int) -> bytes:
        taken = self._content[self._offset : self._offset + count]
        if len(taken) < count:
            raise NotTlsError("its ClientHello is damaged")
        self._offset += count
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def block(self, width: int) -> bytes:
        """What follows its own length, a number of `width` bytes."""
        return self.take(self.number(width))
