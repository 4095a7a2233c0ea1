"""Published ports of a restricted box: callers of the host's ports become flows into the box."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from engine.model import PortSpec, Protocol
from engine.net.flow import StreamFlow, relay
from engine.net.mux import Mux, PacketChannel
from engine.net.reports import Reports
from guest.wire.flows import UDP_IDLE_S

MAX_CALLERS = 256
PUBLISHED = "(published ports)"


async def publish(mux: Mux, listener: socket.socket, port: PortSpec, reports: Reports) -> None:
    """Take calls from now on; those that find the box with all the flows it may have are turned away."""
    if port.protocol is Protocol.TCP:

        async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            caller = StreamFlow(reader, writer)
            if mux.is_full:
                caller.abort()
                return
            channel = mux.open_stream(port.box_port)
            reports.counts.add_connection(PUBLISHED)
            try:
                with reports.counts.following(PUBLISHED, channel):
                    await relay(channel, caller)
            finally:
                channel.abort()

        await asyncio.start_server(called, sock=listener, limit=1024 * 1024)
        return
    await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(mux, port.box_port, reports), sock=listener
    )


class _Datagrams(asyncio.DatagramProtocol):
    """A published UDP port: each caller's address is a flow."""

    def __init__(self, mux: Mux, box_port: int, reports: Reports) -> None:
        self._mux = mux
        self._reports = reports
        self._box_port = box_port
        self._channels: dict[tuple[Any, ...], PacketChannel] = {}
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        channel = self._channels.get(addr)
        if channel is None:
            if len(self._channels) >= MAX_CALLERS:
                return
            channel = self._channels[addr] = self._mux.open_packets(self._box_port)
            self._reports.counts.add_connection(PUBLISHED)
            self._mux.spawn(self._answer(channel, addr))
        channel.give(data)

    async def _answer(self, channel: PacketChannel, caller: tuple[Any, ...]) -> None:
        try:
            with self._reports.counts.following(PUBLISHED, channel):
                while (packet := await asyncio.wait_for(channel.take(), UDP_IDLE_S)) is not None:
                    self._transport.sendto(packet, caller)
        except TimeoutError:
            pass
        finally:
            channel.abort()
            self._channels.pop(caller, None)
