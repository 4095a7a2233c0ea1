"""The agent's end of a restricted box's network: connections of the box become flows to the gateway on the host, and
flows from there become connections to servers in the box (see guest.wire.flows).

Speed is a matter of frames, not of bytes: what a read brings, up to 256 KiB, goes out as one frame.
"""

from __future__ import annotations

import select
import socket
import sys
from typing import Protocol

from guest.connections import Listener, TcpFlow
from guest.datagrams import IcmpTap, UdpFlow, UdpTap
from guest.ports import Port, PortPoller
from guest.redirect import Redirection, silence_own_echo
from guest.wire.flows import (
    OPENING,
    TCP,
    UDP,
    FrameParser,
    FramingError,
    Kind,
    frame,
    pack_address,
)

_HIGH_WATER = 4 << 20
_LOW_WATER = 1 << 20
_BACKLOG = 512


class AgentFlow(Protocol):
    """What the port does with one flow."""

    def receive(self, kind: int, payload: bytes) -> None: ...


class NetworkPort(Port):
    """The network port: frames in, frames out, and the flows they belong to."""

    def __init__(self, fd: int, poller: PortPoller) -> None:
        """`poller` is told of the connections too."""
        super().__init__(fd)
        self.poller = poller
        self.flows: dict[int, AgentFlow] = {}
        self._next = 1
        self._parser = FrameParser(self._receive)
        self._held_back: list[TcpFlow] = []
        self._broken = False

    def open_flow(self, flow: AgentFlow, protocol: int, address: bytes, port: int) -> int:
        """Name a flow and announce it."""
        number, opening = self.name_flow(flow, protocol, address, port)
        self.write(opening)
        return number

    def name_flow(self, flow: AgentFlow, protocol: int, address: bytes, port: int) -> tuple[int, bytes]:
        """Its number, and the frame that is still to announce it, before any other of it."""
        number = self._next
        self._next = (self._next + 2) & 0xFFFFFFFF
        self.flows[number] = flow
        return number, frame(Kind.OPEN, number, OPENING.pack(protocol, port, pack_address(address)))

    def on_event(self, events: int) -> None:
        super().on_event(events)
        if events & select.EPOLLIN:
            while not self._broken and (received := self.read()):
                try:
                    self._parser.feed(received)
                except FramingError as error:
                    self._broken = True
                    print(f"boxlite: the network port is unreadable: {error}", file=sys.stderr, flush=True)

    def _receive(self, kind: int, number: int, payload: bytes) -> None:
        flow = self.flows.get(number)
        if flow is not None:
            flow.receive(kind, payload)
        elif kind == Kind.OPEN:
            self._open_inbound(number, payload)

    def _open_inbound(self, number: int, payload: bytes) -> None:
        protocol, port, _ = OPENING.unpack(payload)
        if protocol == TCP:
            TcpFlow(self, number).connect(port)
        elif protocol == UDP:
            self.flows[number] = UdpFlow.to_box(self, number, port)

    def hold_back(self, flow: TcpFlow) -> bool:
        """Should this flow stop reading because the host is too far behind? It is resumed later."""
        if self.queued_bytes < _HIGH_WATER:
            return False
        self._held_back.append(flow)
        return True

    def on_flushed(self) -> None:
        if self._held_back and self.queued_bytes < _LOW_WATER:
            flows, self._held_back = self._held_back, []
            for flow in flows:
                flow.resume()


class Egress:
    """Everything that leads out of a restricted machine, from `open` on. Raises OSError where it cannot be made."""

    def __init__(self, port: NetworkPort) -> None:
        self._port = port
        self._redirection: Redirection | None = None
        self._taps: list[UdpTap | IcmpTap] = []
        self._listeners: list[Listener] = []

    async def open(self, *, address: str, address6: str) -> None:
        tcp = [socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)]
        self._taps = [UdpTap(self._port, socket.AF_INET)]
        if address6:
            tcp.append(socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=_BACKLOG))
            self._taps.append(UdpTap(self._port, socket.AF_INET6))
        pairs = zip(tcp, self._taps, strict=True)
        sockets = [chosen for listener, tap in pairs for chosen in (listener, tap.socket)]
        self._redirection = Redirection(address=address, address6=address6, sockets=sockets)
        silence_own_echo()
        self._taps.append(IcmpTap(self._port, socket.AF_INET, {socket.inet_aton(address)}))
        if address6:
            own = {socket.inet_pton(socket.AF_INET6, one) for one in ("::1", address6)}
            self._taps.append(IcmpTap(self._port, socket.AF_INET6, own))
        self._listeners = [Listener(self._port, listener) for listener in tcp]
