"""What is not a connection: datagrams and pings of a restricted box, as flows to the gateway.

A refusal of the gateway comes back to the program as the ICMP message that a router would have sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from guest.wire.constants import BOX_ADDRESS
from guest.wire.flows import ICMP, UDP, UDP_IDLE_S, Kind, Reason, frame

if TYPE_CHECKING:
    from guest.egress import NetworkPort

_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_IP_RECVORIGDSTADDR, _IPV6_RECVORIGDSTADDR = 20, 74
_ICMP_FILTER, _SOL_RAW = 1, 255
_ECHO_REPLY, _UNREACHABLE, _ECHO_REQUEST = 0, 3, 8
_ECHO_REPLY6, _UNREACHABLE6, _ECHO_REQUEST6 = 129, 1, 128
_CODES = {Reason.REFUSED: 3, Reason.UNREACHABLE: 1, Reason.DENIED: 13, Reason.LOST: 1}
_CODES6 = {Reason.REFUSED: 4, Reason.UNREACHABLE: 3, Reason.DENIED: 1, Reason.LOST: 3}
_MAX_FLOWS = 256
_BURST = 32
_ANCILLARY_BYTES = 64

Address = tuple[bytes, int]
"""Packed address and port."""


class UdpTap:
    """Takes datagrams for foreign addresses. Each pair of addresses is a flow."""

    def __init__(self, port: NetworkPort, family: socket.AddressFamily) -> None:
        self._port = port
        self.family = family
        self.flows: dict[tuple[Address, Address], UdpFlow] = {}
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.SOL_IP, _IP_RECVORIGDSTADDR, 1)
            self.socket.bind(("127.0.0.1", 0))
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVORIGDSTADDR, 1)
            self.socket.bind(("::1", 0))
        asyncio.get_running_loop().add_reader(self.socket, self._readable)

    def _readable(self) -> None:
        for _ in range(_BURST):
            try:
                packet, ancillary, _, source = self.socket.recvmsg(65536, _ANCILLARY_BYTES)
            except OSError:
                return
            for _, _, stored in ancillary:
                self._take(packet, (socket.inet_pton(self.family, source[0]), source[1]), self._parse(stored))

    def _parse(self, stored: bytes) -> Address:
        """A struct sockaddr."""
        number = struct.unpack_from("!H", stored, 2)[0]
        return (stored[4:8] if self.family == socket.AF_INET else stored[8:24]), number

    def _take(self, packet: bytes, source: Address, target: Address) -> None:
        flow = self.flows.get((source, target))
        if flow is None:
            if len(self.flows) >= _MAX_FLOWS:
                next(iter(self.flows.values())).close()
            flow = UdpFlow.from_box(self, self._port, source, target)
            self.flows[source, target] = flow
        flow.send(packet)


class UdpFlow:
    """Datagrams between one program and one address outside, until nothing came for a minute."""

    def __init__(self, port: NetworkPort, answers: socket.socket) -> None:
        self._port = port
        self._socket = answers
        self._socket.setblocking(False)
        self._number = 0
        self._tap: UdpTap | None = None
        self._key: tuple[Address, Address] | None = None
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._last = loop.time()
        self._timer = loop.call_later(UDP_IDLE_S, self._expire)
        loop.add_reader(answers, self._readable)

    @classmethod
    def from_box(cls, tap: UdpTap, port: NetworkPort, source: Address, target: Address) -> UdpFlow:
        """A flow to `target` that a program at `source` began."""
        answers = socket.socket(tap.family, socket.SOCK_DGRAM)
        if tap.family == socket.AF_INET:
            answers.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
        else:
            answers.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        answers.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        answers.bind((socket.inet_ntop(tap.family, target[0]), target[1]))
        answers.connect((socket.inet_ntop(tap.family, source[0]), source[1]))
        flow = cls(port, answers)
        flow._tap, flow._key = tap, (source, target)
        flow._number = port.open_flow(flow, UDP, *target)
        return flow

    @classmethod
    def to_box(cls, port: NetworkPort, number: int, box_port: int) -> UdpFlow:
        """A flow that somebody outside began, to a published port."""
        answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        answers.connect((BOX_ADDRESS, box_port))
        flow = cls(port, answers)
        flow._number = number
        return flow

    def send(self, packet: bytes) -> None:
        self._last = self._loop.time()
        self._port.write(frame(Kind.DATAGRAM, self._number, packet))

    def receive(self, kind: int, payload: bytes) -> None:
        self._last = self._loop.time()
        if kind == Kind.DATAGRAM:
            with contextlib.suppress(OSError):  # nobody listens any more
                self._socket.send(payload)
        elif kind == Kind.RESET:
            if self._key is not None and self._tap is not None:
                refuse(self._tap.family, UDP, *self._key, Reason(payload[0]), b"")
            self._forget()

    def _readable(self) -> None:
        for _ in range(_BURST):
            try:
                packet = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                self.close(Reason.REFUSED)
                return
            self.send(packet)

    def _expire(self) -> None:
        left = self._last + UDP_IDLE_S - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self.close()

    def close(self, reason: Reason = Reason.LOST) -> None:
        if self._number in self._port.flows:
            self._port.write(frame(Kind.RESET, self._number, bytes((reason,))))
        self._forget()

    def _forget(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._port.flows.pop(self._number, None)
        if self._tap is not None and self._key is not None:
            self._tap.flows.pop(self._key, None)


class IcmpTap:
    """Takes echo requests: those to the machine itself are answered here, the others asked of the gateway."""

    def __init__(self, port: NetworkPort, family: socket.AddressFamily, own: set[bytes]) -> None:
        self._port = port
        self._family = family
        self._own = own
        self._flows: dict[tuple[bytes, bytes, bytes], EchoFlow] = {}
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        if family == socket.AF_INET:
            self.socket = socket.socket(family, kind, socket.IPPROTO_ICMP)
            blocked = struct.pack("=I", 0xFFFFFFFF & ~(1 << _ECHO_REQUEST))
            self.socket.setsockopt(_SOL_RAW, _ICMP_FILTER, blocked)
        else:
            self.socket = socket.socket(family, kind, socket.IPPROTO_ICMPV6)
            words = [0xFFFFFFFF] * 8
            words[_ECHO_REQUEST6 // 32] &= ~(1 << _ECHO_REQUEST6 % 32)
            self.socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP_FILTER, struct.pack("=8I", *words))
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        asyncio.get_running_loop().add_reader(self.socket, self._readable)

    def _readable(self) -> None:
        for _ in range(_BURST):
            try:
                packet, ancillary, _, sender = self.socket.recvmsg(65536, _ANCILLARY_BYTES)
            except OSError:
                return
            if self._family == socket.AF_INET:
                header = (packet[0] & 15) * 4
                source, target, echo = packet[12:16], packet[16:20], packet[header + 4 :]
            else:
                source, echo = socket.inet_pton(socket.AF_INET6, sender[0].partition("%")[0]), packet[4:]
                target = ancillary[0][2][:16] if ancillary else source
            if target in self._own or (len(target) == 4 and target[0] == 127):
                answer_echo(target, source, echo)
            else:
                self._ask(source, target, echo)

    def _ask(self, source: bytes, target: bytes, echo: bytes) -> None:
        key = (source, target, echo[:2])
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= _MAX_FLOWS:
                self._flows.pop(next(iter(self._flows))).close()
            flow = self._flows[key] = EchoFlow(self._port, source, target, lambda: self._flows.pop(key, None))
        flow.send(echo)


class EchoFlow:
    """The pings of one program to one address."""

    def __init__(
        self, port: NetworkPort, source: bytes, target: bytes, on_over: Callable[[], object]
    ) -> None:
        self._port = port
        self._source, self._target = source, target
        self._on_over = on_over
        self._last = b""
        self._number = port.open_flow(self, ICMP, target, 0)

    def send(self, echo: bytes) -> None:
        self._last = echo
        self._port.write(frame(Kind.DATAGRAM, self._number, echo))

    def receive(self, kind: int, payload: bytes) -> None:
        if kind == Kind.DATAGRAM:
            answer_echo(self._target, self._source, payload)
        elif kind == Kind.RESET:
            self._port.flows.pop(self._number, None)
            family = socket.AF_INET if len(self._target) == 4 else socket.AF_INET6
            refuse(family, ICMP, (self._source, 0), (self._target, 0), Reason(payload[0]), self._last[:4])
            self._on_over()

    def close(self) -> None:
        if self._port.flows.pop(self._number, None) is not None:
            self._port.write(frame(Kind.RESET, self._number, bytes((Reason.LOST,))))


def answer_echo(source: bytes, target: bytes, echo: bytes) -> None:
    kind = _ECHO_REPLY if len(source) == 4 else _ECHO_REPLY6
    _send_icmp(source, target, kind, 0, echo)


def refuse(
    family: socket.AddressFamily,
    protocol: int,
    source: Address,
    target: Address,
    reason: Reason,
    inner: bytes,
) -> None:
    """Tell who sent from `source` that `target` cannot be reached (RFC 792; RFC 4443, section 3.1). `inner` is what
    follows the checksum in the header of a refused echo request."""
    over6 = family == socket.AF_INET6
    if protocol == UDP:
        inside = struct.pack("!HHHH", source[1], target[1], 8, 0)
    else:
        inside = struct.pack("!BBH", _ECHO_REQUEST6 if over6 else _ECHO_REQUEST, 0, 0) + inner
        protocol = socket.IPPROTO_ICMPV6 if over6 else protocol
    refused = bytes(4) + _ip_header(source[0], target[0], protocol, len(inside)) + inside
    if over6:
        _send_icmp(target[0], source[0], _UNREACHABLE6, _CODES6[reason], refused)
    else:
        _send_icmp(target[0], source[0], _UNREACHABLE, _CODES[reason], refused)


def _send_icmp(source: bytes, target: bytes, kind: int, code: int, rest: bytes) -> None:
    length = 4 + len(rest)
    pseudo = b""
    family, protocol = socket.AF_INET, socket.IPPROTO_ICMP
    if len(source) == 16:
        family, protocol = socket.AF_INET6, socket.IPPROTO_ICMPV6
        pseudo = source + target + struct.pack("!II", length, protocol)
    checksum = _checksum(pseudo + struct.pack("!BBH", kind, code, 0) + rest)
    message = struct.pack("!BBH", kind, code, checksum) + rest
    _send_raw(family, _ip_header(source, target, protocol, length) + message, target)


def _send_raw(family: socket.AddressFamily, message: bytes, target: bytes) -> None:
    """As on any network, such a message may be lost."""
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw, contextlib.suppress(OSError):
        raw.sendto(message, (socket.inet_ntop(family, target), 0))


def _ip_header(source: bytes, target: bytes, protocol: int, length: int) -> bytes:
    """Without options (RFC 791, RFC 8200); the kernel fills in checksum and identification where it sends it."""
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, length, protocol, 64) + source + target
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, protocol, 0) + source + target


def _checksum(message: bytes) -> int:
    """RFC 1071."""
    padded = message + b"\0" if len(message) % 2 else message
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
