"""The agent's HTTP/2 server, asked by grpcio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from engine.portal.session import CHANNEL_OPTIONS
from guest.http2 import PortalServer
from guest.services.calls import streaming, unary
from guest.wire import portal_pb2 as wire

METHOD = "/test/Measure"
REPEAT = "/test/Repeat"
WORDS = ["a", "a", "a", "b", "a", "b", "b", "c", "a", "a", "d", "d", "d", "a", "b", "c", "a", "a"]


class _Measure:
    def __mapping__(self) -> Mapping[str, Handler]:
        return {
            METHOD: unary(self.measure, wire.ContainerInitRequest, wire.PingReply),
            REPEAT: streaming(self.repeat, Cardinality.UNARY_STREAM, wire.PingRequest, wire.PingReply),
        }

    async def measure(self, _: wire.ContainerInitRequest) -> wire.PingReply:
        return wire.PingReply()

    async def repeat(self, stream: Stream[Any, Any]) -> None:
        """Tell the word in the call's metadata, before and after a message."""
        await stream.recv_message()
        assert stream.metadata is not None
        word = str(stream.metadata.get("word", "none"))
        await stream.send_initial_metadata(metadata={"first": word})
        await stream.send_message(wire.PingReply(version=word))
        await stream.send_trailing_metadata(metadata={"last": word})


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


async def test_headers_that_come_again_and_others_between_them_are_told_apart(tmp_path: Path) -> None:
    """Blocks that are remembered, and those that change the tables they refer to (RFC 7541)."""
    server, path, transports = PortalServer([_Measure()]), tmp_path / "s", list[asyncio.Transport]()
    listener = await asyncio.get_running_loop().create_unix_server(lambda: _noted(server, transports), path)
    try:
        async with grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS) as channel:
            call = channel.unary_stream(
                REPEAT,
                request_serializer=wire.PingRequest.SerializeToString,
                response_deserializer=wire.PingReply.FromString,
            )
            for number, word in enumerate([*WORDS, *(f"{n}" * 900 for n in range(8)), *WORDS]):
                plain = number % 3 == 2
                answer = call(wire.PingRequest(), metadata=() if plain else (("word", word),), timeout=10)
                expected = "none" if plain else word
                assert ("first", expected) in [(key, value) for key, value in await answer.initial_metadata()]
                assert [message.version async for message in answer] == [expected]
                assert ("last", expected) in [(key, value) for key, value in await answer.trailing_metadata()]
    finally:
        listener.close()
        await listener.wait_closed()
        for transport in transports:
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
