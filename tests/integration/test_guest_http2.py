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
    listener = await asyncio.get_running_loop().create_unix_server(server.new_connection, path)
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
