"""The agent's HTTP/2 server, asked by grpcio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from grpclib.const import Handler

from engine.portal.session import CHANNEL_OPTIONS
from guest.http2 import PortalServer
from guest.services.calls import unary
from guest.wire import portal_pb2 as wire

METHOD = "/test/Measure"


class _Measure:
    def __mapping__(self) -> Mapping[str, Handler]:
        return {METHOD: unary(self.measure, wire.ContainerInitRequest, wire.PingReply)}

    async def measure(self, _: wire.ContainerInitRequest) -> wire.PingReply:
        return wire.PingReply()


@pytest.mark.parametrize("size_bytes", [16000, 16384, 17000, 18600, 22000, 100_000])
async def test_server_asked_first_thing_with_a_large_message_answers(tmp_path: Path, size_bytes: int) -> None:
    server = PortalServer([_Measure()])
    path = tmp_path / "s"
    transports: list[asyncio.Transport] = []
    listener = await asyncio.get_running_loop().create_unix_server(lambda: _noted(server, transports), path)
    try:
        for _ in range(4):
            async with grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS) as channel:
                call = channel.unary_unary(
                    METHOD,
                    request_serializer=wire.ContainerInitRequest.SerializeToString,
                    response_deserializer=wire.PingReply.FromString,
                )
                await call(wire.ContainerInitRequest(seccomp_filter=bytes(size_bytes)), timeout=10)
    finally:
        listener.close()
        await listener.wait_closed()
        for transport in transports:  # a busy host has not told them yet that the client went away
            transport.abort()
        await asyncio.sleep(0)


def _noted(server: PortalServer, transports: list[asyncio.Transport]) -> asyncio.Protocol:
    """A protocol for a new connection, whose transport is put down."""
    protocol = server.new_connection()
    connected = protocol.connection_made

    def note(transport: asyncio.Transport) -> None:
        transports.append(transport)
        connected(transport)

    protocol.connection_made = note  # type: ignore[method-assign, assignment]
    return protocol
