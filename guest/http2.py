"""The HTTP/2 server side of the portal: grpclib, with what costs most in it taken out.

In an emulated machine every byte touched and every line run for the first time counts.
"""

from __future__ import annotations

import asyncio

from grpclib.protocol import H2Protocol
from grpclib.server import Server
from h2.settings import SettingCodes
from hyperframe.frame import Frame

from guest.wire.constants import MAX_FRAME_BYTES

_MAX_STREAMS = 256

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
        http2.update_settings({
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
            SettingCodes.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
        })  # fmt: skip
        # A client may use what we offer before its acknowledgement comes, as grpcio does: h2 would end the connection.
        http2.max_inbound_frame_size = MAX_FRAME_BYTES
        self.connection.flush()
