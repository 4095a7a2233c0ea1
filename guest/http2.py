"""The HTTP/2 server side of the portal: grpclib, with what costs most in it taken out.

In an emulated machine every byte touched and every line run for the first time counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from h2.settings import SettingCodes
from h2.stream import H2Stream
from hpack import Decoder, Encoder
from hyperframe.frame import Frame

from guest.ports import PortTransport
from guest.wire.constants import MAX_FRAME_BYTES

_MAX_STREAMS = 256
_BLOCKS_KEPT = 32

# h2 describes every frame it receives to a logger that drops it, and the description holds the whole body in
# hexadecimal before it is cut to twenty digits (h2 4.2 connection.py, hyperframe 6.0 frame.py).
Frame.__repr__ = object.__repr__  # type: ignore[method-assign]


class PortalServer(Server):
    """grpclib's server, whose connections come from ports instead of a listening socket."""

    def new_connection(self) -> asyncio.Protocol:
        made = self._protocol_factory()
        return _PortalProtocol(made.handler, made.config, made.h2_config)


class _PortalProtocol(H2Protocol):
    """HTTP/2 with frames as large as our messages: what costs here is their number."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        http2 = self.connection._connection
        http2.decoder, http2.encoder = _remembering(http2.decoder), _remembering(http2.encoder)
        http2.update_settings({
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
            SettingCodes.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
        })  # fmt: skip
        # A client may use what we offer before its acknowledgement comes, as grpcio does: h2 would end the connection.
        http2.max_inbound_frame_size = MAX_FRAME_BYTES
        self.connection.flush()


def together(stream: Stream[Any, Any]) -> contextlib.AbstractContextManager[None]:
    """What is sent in this context goes out in one piece, if it does not have to wait."""
    transport = stream._stream._transport
    return transport.together() if isinstance(transport, PortTransport) else contextlib.nullcontext()


class _Headers(list[Any]):
    """Headers that come with each call, and what h2 makes of them: the same each time, as it is told to check nothing."""

    made: Any = None


_process_received_headers = H2Stream._process_received_headers


def _process_headers_once(stream: H2Stream, headers: Any, flags: Any, encoding: Any) -> Any:
    if not isinstance(headers, _Headers):
        return _process_received_headers(stream, headers, flags, encoding)
    if headers.made is None:
        headers.made = _process_received_headers(stream, headers, flags, encoding)
    return headers.made


H2Stream._process_received_headers = _process_headers_once  # type: ignore[method-assign, assignment]


class _RememberingDecoder(Decoder):
    """Decodes once what comes with each call. A block of nothing but indexed fields changes no table, and means the same until
    another kind of block comes (RFC 7541, section 6)."""

    known: dict[bytes, list[Any]]

    def decode(self, data: bytes, raw: bool = False) -> list[Any]:
        found = self.known.get(data)
        if found is not None:
            return found
        headers = _Headers(super().decode(data, raw))
        _remember(self.known, data, headers, block=data)
        return headers


class _RememberingEncoder(Encoder):
    """The same for what is answered."""

    known: dict[tuple[Any, ...], bytes]

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        if self.header_table.resized:
            self.known.clear()
        key = tuple(headers)
        found = self.known.get(key)
        if found is None:
            found = super().encode(key, huffman)
            _remember(self.known, key, found, block=found)
        return found


def _remember(known: dict[Any, Any], key: object, value: object, *, block: bytes) -> None:
    """Keep it if each byte of the block is a field: a whole index of seven bits."""
    if len(known) >= _BLOCKS_KEPT or not block or min(block) < 0x80 or 0xFF in block:
        known.clear()
    else:
        known[key] = value


_REMEMBERING: dict[type, type] = {Decoder: _RememberingDecoder, Encoder: _RememberingEncoder}


def _remembering(coder: Any) -> Any:
    """The coder that h2 made, which has no other way to give it one."""
    coder.__class__ = _REMEMBERING[type(coder)]
    coder.known = {}
    return coder
