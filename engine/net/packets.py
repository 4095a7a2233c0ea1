"""Datagrams and pings of a restricted box."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any

from engine.net.mux import PacketChannel
from engine.net.names import Names
from engine.net.policy import Attempt, Policy, Verdict, Way, decide
from engine.net.reports import Reports
from engine.net.rules import Address
from guest.wire.flows import UDP_IDLE_S, Reason

_ECHO_REQUEST = {4: 8, 6: 128}
_ECHO_REPLY = {4: 0, 6: 129}
_LOOPBACK = "127.0.0.1"


async def serve_packets(
    channel: PacketChannel, address: Address, policy: Policy, names: Names, reports: Reports
) -> None:
    """The datagrams between the box and one address, until nothing came for a while."""
    from engine.net.gateway import is_of_host

    attempt = Attempt(way=Way.UDP, address=address, port=channel.port, of_host=is_of_host(address))
    decision = decide(policy, attempt)
    if decision.verdict is Verdict.RESOLVE:
        await _answer_questions(channel, names, reports)
        return
    name, text = names.name_of(str(address)), str(address)
    if decision.denied:
        reports.denied("udp", decision, name=name, address=text, port=channel.port)
        channel.reset(Reason.DENIED)
        return
    target = _LOOPBACK if decision.verdict is Verdict.HOST else text
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Answers(channel), remote_addr=(target, channel.port)
        )
    except OSError as error:
        reason = error.strerror or str(error)
        reports.failed("udp", decision, name=name, address=text, port=channel.port, reason=reason)
        channel.reset(Reason.UNREACHABLE)
        return
    reports.allowed("udp", decision, name=name, address=text, port=channel.port)
    try:
        with reports.counts.following(name or text, channel):
            while (packet := await _next(channel)) is not None:
                transport.sendto(packet)
    finally:
        transport.close()


async def _next(channel: PacketChannel) -> bytes | None:
    """The box's next packet; None once there was none in either direction for a while."""
    while True:
        before = channel.bytes_in
        try:
            return await asyncio.wait_for(channel.take(), UDP_IDLE_S)
        except TimeoutError:
            if channel.bytes_in == before:
                return None


class _Answers(asyncio.DatagramProtocol):
    """What comes back goes to the box."""

    def __init__(self, channel: PacketChannel) -> None:
        self._channel = channel

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._channel.give(data)

    def error_received(self, exc: Exception) -> None:
        self._channel.reset(Reason.REFUSED if isinstance(exc, ConnectionRefusedError) else Reason.UNREACHABLE)


async def _answer_questions(channel: PacketChannel, names: Names, reports: Reports) -> None:
    async with asyncio.TaskGroup() as group:
        while (query := await _next(channel)) is not None:
            group.create_task(_answer(channel, query, names, reports))


async def _answer(channel: PacketChannel, query: bytes, names: Names, reports: Reports) -> None:
    reply = await names.answer(query)
    if reply is None:
        return
    if reply.decision is not None:
        reports.denied("dns", reply.decision, name=reply.name, address="", port=0)
    channel.give(reply.wire)


# ---------------------------------------------------------------- ping


async def serve_pings(
    channel: PacketChannel, address: Address, policy: Policy, names: Names, reports: Reports
) -> None:
    """The echo requests of one program to one address. What travels is an ICMP message from its identifier on."""
    from engine.net.gateway import is_of_host

    attempt = Attempt(way=Way.ICMP, address=address, of_host=is_of_host(address))
    decision = decide(policy, attempt)
    name, text = names.name_of(str(address)), str(address)
    if decision.denied:
        reports.denied("icmp", decision, name=name, address=text, port=0)
        channel.reset(Reason.DENIED)
        return
    reports.allowed("icmp", decision, name=name, address=text, port=0)
    if decision.verdict is Verdict.HOST:
        while (asked := await _next(channel)) is not None:
            channel.give(asked)  # the host is here, that is all it asks
        return
    try:
        pinger = _open_pinger(address)
    except OSError as error:
        reason = f"this host lets its users not ping: {error.strerror}"
        reports.failed("icmp", decision, name=name, address=text, port=0, reason=reason)
        channel.reset(Reason.UNREACHABLE)
        return
    first = await _next(channel)
    if first is None:
        return
    identifier = first[:2]  # the kernel sends with one of its own, and a flow has only one
    answers = asyncio.ensure_future(_return_echoes(pinger, channel, identifier, _ECHO_REPLY[address.version]))
    try:
        echo: bytes | None = first
        while echo is not None:
            with contextlib.suppress(OSError):
                pinger.send(struct.pack("!BBHH", _ECHO_REQUEST[address.version], 0, 0, 0) + echo[2:])
            echo = await _next(channel)
    finally:
        answers.cancel()
        await asyncio.gather(answers, return_exceptions=True)
        pinger.close()


def _open_pinger(address: Address) -> socket.socket:
    """A socket that the kernel lets ordinary users ping with (icmp(7), net.ipv4.ping_group_range)."""
    family, protocol = socket.AF_INET, socket.IPPROTO_ICMP
    if address.version == 6:
        family, protocol = socket.AF_INET6, socket.IPPROTO_ICMPV6
    pinger = socket.socket(family, socket.SOCK_DGRAM, protocol)
    pinger.setblocking(False)
    pinger.connect((str(address), 0))
    return pinger


async def _return_echoes(
    pinger: socket.socket, channel: PacketChannel, identifier: bytes, reply: int
) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while True:
            answer = await loop.sock_recv(pinger, 65536)
            if answer[:1] == bytes((reply,)):
                channel.give(identifier + answer[6:])
