"""Connections of a restricted box as flows, over real sockets: the agent's end, with the other end of its port played here."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from guest.connections import Listener
from guest.egress import NetworkPort
from guest.ports import PortPoller
from guest.wire.flows import CREDIT, WINDOW_BYTES, FrameParser, Kind, Reason, frame

FIRST = 1
WITHIN_S = 10.0


class Gateway:
    """What came over the port so far; `until` waits for more of it."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.frames: list[tuple[int, int, bytes]] = []
        self._parser = FrameParser(lambda *one: self.frames.append(one))

    def data(self) -> bytes:
        return b"".join(payload for kind, _, payload in self.frames if kind == Kind.DATA)

    def kinds(self) -> list[int]:
        return [kind for kind, _, _ in self.frames]

    async def until(self, kind: Kind) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            while kind not in self.kinds():
                await self.more()
        return next(payload for one, _, payload in self.frames if one == kind)

    async def more(self, within_s: float = WITHIN_S) -> None:
        coming = asyncio.get_running_loop().sock_recv(self.stream, 1 << 20)
        self._parser.feed(await asyncio.wait_for(coming, within_s))

    async def say(self, kind: Kind, payload: bytes = b"") -> None:
        await asyncio.get_running_loop().sock_sendall(self.stream, frame(kind, FIRST, payload))


@asynccontextmanager
async def one_connection() -> AsyncIterator[tuple[Gateway, NetworkPort, socket.socket]]:
    """A program's socket, connected to somewhere by way of the agent."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    poller = PortPoller(loop)
    port = NetworkPort(theirs.fileno(), poller)
    poller.register(port)
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as program:
        listener = Listener(port, listening)
        program.setblocking(False)
        await loop.sock_connect(program, listening.getsockname())
        try:
            yield Gateway(ours), port, program
        finally:
            for flow in tuple(port.flows.values()):
                flow.receive(Kind.RESET, b"")
            poller.unregister(listener.fd)
            poller.close()


async def test_flow_of_a_connection_says_where_it_goes_and_what_the_program_says() -> None:
    async with one_connection() as (gateway, _, program):
        program.send(b"hello")
        await gateway.until(Kind.DATA)
        assert gateway.kinds() == [Kind.OPEN, Kind.DATA]
        assert gateway.data() == b"hello"
        await gateway.say(Kind.DATA, b"answer")
        assert await asyncio.get_running_loop().sock_recv(program, 99) == b"answer"


async def test_flow_whose_program_has_ended_still_brings_it_the_answer() -> None:
    loop = asyncio.get_running_loop()
    async with one_connection() as (gateway, port, program):
        program.send(b"question")
        program.shutdown(socket.SHUT_WR)
        await gateway.until(Kind.END)
        assert gateway.data() == b"question"
        await gateway.say(Kind.DATA, b"answer")
        await gateway.say(Kind.END)
        assert await loop.sock_recv(program, 99) == b"answer"
        assert await loop.sock_recv(program, 99) == b""
        assert port.flows == {}


async def test_flow_whose_server_has_ended_still_takes_what_the_program_says() -> None:
    loop = asyncio.get_running_loop()
    async with one_connection() as (gateway, port, program):
        await gateway.until(Kind.OPEN)
        await gateway.say(Kind.END)
        assert await loop.sock_recv(program, 99) == b""
        program.send(b"late")
        program.close()
        await gateway.until(Kind.END)
        assert gateway.data() == b"late"
        assert port.flows == {}


async def test_flow_takes_no_more_of_the_program_than_its_window() -> None:
    loop = asyncio.get_running_loop()
    async with one_connection() as (gateway, _, program):
        sending = asyncio.ensure_future(loop.sock_sendall(program, bytes(3 * WINDOW_BYTES)))
        while len(gateway.data()) < WINDOW_BYTES:
            gateway.frames = [one for one in gateway.frames if one[0] == Kind.DATA]
            await gateway.more()
        with pytest.raises(TimeoutError):
            await gateway.more(within_s=0.3)
        assert len(gateway.data()) == WINDOW_BYTES
        await gateway.say(Kind.CREDIT, CREDIT.pack(5))
        await gateway.more()
        assert len(gateway.data()) == WINDOW_BYTES + 5
        sending.cancel()


async def test_flow_gives_credit_for_what_the_program_has_taken_and_loses_nothing() -> None:
    loop = asyncio.get_running_loop()
    async with one_connection() as (gateway, _, program):
        await gateway.until(Kind.OPEN)
        program.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sent = b"".join(index.to_bytes(4) for index in range(WINDOW_BYTES // 4))
        sending = asyncio.ensure_future(_say_in_pieces(gateway, sent))
        received = b""
        while len(received) < len(sent):
            received += await asyncio.wait_for(loop.sock_recv(program, 1 << 16), WITHIN_S)
        await sending
        assert received == sent
        await gateway.until(Kind.CREDIT)
        await gateway.say(Kind.END)
        assert await loop.sock_recv(program, 1) == b""


async def test_flow_that_is_reset_there_resets_the_program_s_connection() -> None:
    async with one_connection() as (gateway, port, program):
        await gateway.until(Kind.OPEN)
        await gateway.say(Kind.RESET, bytes((Reason.DENIED,)))
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(program, 1), WITHIN_S)
        assert port.flows == {}


async def test_flow_whose_program_is_gone_is_reset_there() -> None:
    async with one_connection() as (gateway, port, program):
        await gateway.until(Kind.OPEN)
        program.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        program.close()
        assert await gateway.until(Kind.RESET) == bytes((Reason.LOST,))
        assert port.flows == {}


async def _say_in_pieces(gateway: Gateway, data: bytes) -> None:
    for start in range(0, len(data), 100_000):
        await gateway.say(Kind.DATA, data[start : start + 100_000])
