"""The agent's ports over a socketpair, with real HTTP/2 on both ends."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from grpclib.client import UnaryUnaryMethod
from grpclib.const import Handler
from grpclib.exceptions import GRPCError

from guest.errors import GuestError
from guest.http2 import PortalServer
from guest.ports import PortalPort, PortPoller
from guest.services.calls import unary
from guest.warmup import PairChannel, say_hello
from guest.wire import portal_pb2 as pb
from guest.wire.constants import ERROR_TRAILER, FLUSH_BYTES, HELLO_MAGIC, NONCE_BYTES, REPLY_MAGIC


class _Echo:
    """A service whose answer is as long as asked for, or an error."""

    def __mapping__(self) -> dict[str, Handler]:
        return {"/t/Init": unary(self.init, pb.InitRequest, pb.InitRequest)}

    async def init(self, request: pb.InitRequest) -> pb.InitRequest:
        if request.hostname == "fail":
            raise GuestError("not_found", "there is no such thing", hint="look elsewhere", errno=2)
        if request.hostname == "crash":
            raise RuntimeError("a bug")
        return request


@contextmanager
def _served_port() -> Iterator[tuple[PortalPort, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    poller = PortPoller(asyncio.get_running_loop())
    port = PortalPort(theirs.fileno(), PortalServer([_Echo()]).new_connection)
    poller.register(port)
    try:
        yield port, ours
    finally:
        poller.close()
        ours.close()
        theirs.close()


async def _hello_answered(connected: socket.socket) -> None:
    """Say hello and wait for the answer, whatever comes before it."""
    loop = asyncio.get_running_loop()
    nonce = os.urandom(NONCE_BYTES)
    await loop.sock_sendall(connected, HELLO_MAGIC + nonce)
    received = b""
    while REPLY_MAGIC + nonce not in received:
        received += await asyncio.wait_for(loop.sock_recv(connected, 65536), 5)


@asynccontextmanager
async def _client(connected: socket.socket) -> AsyncIterator[UnaryUnaryMethod[Any, Any]]:
    await asyncio.wait_for(say_hello(connected), 5)
    channel = PairChannel(connected)
    try:
        yield UnaryUnaryMethod(channel, "/t/Init", pb.InitRequest, pb.InitRequest)
    finally:
        channel.close()


async def test_portal_port_call_after_hello_is_answered() -> None:
    with _served_port() as (_, ours):
        async with _client(ours) as call:
            request = pb.InitRequest(box_id="b", entropy=os.urandom(900_000))
            assert await call(request) == request


async def test_portal_port_leftovers_before_the_hello_are_dropped() -> None:
    with _served_port() as (_, ours):
        await asyncio.get_running_loop().sock_sendall(
            ours, b"PRI * HTTP/2.0 rest of a dead client" + HELLO_MAGIC[:9]
        )
        async with _client(ours) as call:
            assert (await call(pb.InitRequest(box_id="b"))).box_id == "b"


async def test_portal_port_next_client_is_answered_though_the_last_one_was_not_seen_to_go() -> None:
    with _served_port() as (_, ours):
        again = ours.dup()
        async with _client(ours) as call:
            await call(pb.InitRequest(box_id="b"))
        begun = asyncio.get_running_loop().time()
        await _hello_answered(again)
        assert asyncio.get_running_loop().time() - begun < 0.4
        again.close()


async def test_portal_port_dead_client_in_the_middle_of_a_frame_is_flushed_out() -> None:
    with _served_port() as (port, ours):
        loop = asyncio.get_running_loop()
        await say_hello(ours)
        ours_dup = ours.dup()
        # The dead client's connection: preface, settings, and the head of a frame of 200,000 bytes.
        await loop.sock_sendall(
            ours, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        )
        await loop.sock_sendall(ours, (200_000).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01")

        nonce = os.urandom(NONCE_BYTES)
        await loop.sock_sendall(ours, bytes(FLUSH_BYTES) + HELLO_MAGIC + nonce)

        received = b""
        while nonce not in received:
            received += await asyncio.wait_for(loop.sock_recv(ours, 65536), 5)
        ours_dup.close()
        assert port.queued_bytes == 0


async def test_portal_port_error_carries_its_detail() -> None:
    with _served_port() as (_, ours):
        async with _client(ours) as call:
            with pytest.raises(GRPCError, match="no such thing"):
                async with call.open() as stream:
                    await stream.send_message(pb.InitRequest(hostname="fail"), end=True)
                    await stream.recv_message()
            assert stream.trailing_metadata is not None
            detail = pb.ErrorDetail.FromString(stream.trailing_metadata[ERROR_TRAILER])
            assert (detail.code, detail.hint, detail.errno) == ("not_found", "look elsewhere", 2)


async def test_portal_port_bug_in_a_call_is_an_error_and_the_next_call_works() -> None:
    with _served_port() as (_, ours):
        async with _client(ours) as call:
            with pytest.raises(GRPCError, match="a bug"):
                await call(pb.InitRequest(hostname="crash"))
            assert (await call(pb.InitRequest(box_id="b"))).box_id == "b"
