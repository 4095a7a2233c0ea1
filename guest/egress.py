"""The agent's end of a restricted box's network: connections of the box become flows to the gateway on the host, and
flows from there become connections to servers in the box (see guest.wire.flows).

Speed is a matter of frames, not of bytes: what a read brings, up to 256 KiB, goes out as one frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import sys
from typing import Protocol, cast

from guest.datagrams import IcmpTap, UdpFlow, UdpTap
from guest.ports import Port
from guest.redirect import Redirection, silence_own_echo
from guest.wire.constants import BOX_ADDRESS
from guest.wire.flows import (
    CREDIT,
    CREDIT_STEP_BYTES,
    FRAME,
    ICMP,
    MAX_DATA_BYTES,
    OPENING,
    TCP,
    UDP,
    WINDOW_BYTES,
    FrameParser,
    FramingError,
    Kind,
    Reason,
    frame,
    pack_address,
)

_HIGH_WATER = 4 << 20
_LOW_WATER = 1 << 20
_BACKLOG = 512
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

# Shared by all connections: what is read is copied out, behind its frame's header, before anything else runs.
_BUFFER = bytearray(FRAME.size + MAX_DATA_BYTES)
_READ_VIEW = memoryview(_BUFFER)[FRAME.size :]


class AgentFlow(Protocol):
    """What the port does with one flow."""

    def receive(self, kind: int, payload: bytes) -> None: ...


class NetworkPort(Port):
    """The network port: frames in, frames out, and the flows they belong to."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.flows: dict[int, AgentFlow] = {}
        self._next = 1
        self._parser = FrameParser(self._receive)
        self._held_back: list[TcpFlow] = []
        self._broken = False

    def open_flow(self, flow: AgentFlow, protocol: int, address: bytes, port: int) -> int:
        """Name a flow and announce it."""
        number = self._next
        self._next = (self._next + 2) & 0xFFFFFFFF
        self.flows[number] = flow
        self.write(frame(Kind.OPEN, number, OPENING.pack(protocol, port, pack_address(address))))
        return number

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


class TcpFlow(asyncio.BufferedProtocol):
    """One connection. Opened by a program of the box (no number yet), or by the gateway (`connect`)."""

    def __init__(self, port: NetworkPort, number: int = 0) -> None:
        self._port = port
        self._number = number
        self._transport: asyncio.Transport | None = None
        self._credit = WINDOW_BYTES
        self._taken = 0
        self._writing_paused = False
        self._early: list[tuple[int, bytes]] = []
        self._ended_here = self._ended_there = False

    def connect(self, port: int) -> None:
        """Reach a server in the box; until that stands, what comes for it is kept (at most a window)."""
        self._port.flows[self._number] = self
        task = asyncio.get_running_loop().create_task(self._connect(port))
        task.add_done_callback(lambda _: None)

    async def _connect(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, BOX_ADDRESS, port)
        except OSError as error:
            reason = Reason.REFUSED if isinstance(error, ConnectionRefusedError) else Reason.UNREACHABLE
            self._forget(reason)

    # ------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._number:
            early, self._early = self._early, []
            for kind, payload in early:
                self.receive(kind, payload)
            return
        host, port = self._transport.get_extra_info("sockname")[:2]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._number = self._port.open_flow(self, TCP, socket.inet_pton(family, host), port)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ_VIEW[: self._credit]

    def buffer_updated(self, nbytes: int) -> None:
        FRAME.pack_into(_BUFFER, 0, Kind.DATA, self._number, nbytes)
        self._port.write(bytes(_BUFFER[: FRAME.size + nbytes]))
        self._credit -= nbytes
        if self._credit <= 0 or self._port.hold_back(self):
            assert self._transport is not None
            self._transport.pause_reading()

    def resume(self) -> None:
        """The port has room again."""
        if self._credit > 0 and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        self._ended_here = True
        self._port.write(frame(Kind.END, self._number))
        if self._ended_there:
            self._port.flows.pop(self._number, None)
        return not self._ended_there

    def connection_lost(self, exc: Exception | None) -> None:
        if self._number in self._port.flows:
            self._forget(Reason.LOST)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._give_credit()

    # ------------------------------------------------------------ the gateway's side

    def receive(self, kind: int, payload: bytes) -> None:
        transport = self._transport
        if kind == Kind.RESET:
            self._port.flows.pop(self._number, None)
            if transport is not None:
                with contextlib.suppress(OSError):
                    transport.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
                    )
                transport.abort()
        elif transport is None:
            self._early.append((kind, payload))
        elif kind == Kind.DATA:
            transport.write(payload)
            self._taken += len(payload)
            if self._taken >= CREDIT_STEP_BYTES and not self._writing_paused:
                self._give_credit()
        elif kind == Kind.CREDIT:
            had_none = self._credit <= 0
            self._credit += CREDIT.unpack(payload)[0]
            if had_none and not self._port.hold_back(self):
                self.resume()
        elif kind == Kind.END:
            self._ended_there = True
            if self._ended_here:
                self._port.flows.pop(self._number, None)
                transport.close()
            else:
                with contextlib.suppress(OSError):
                    transport.write_eof()

    def _give_credit(self) -> None:
        if self._taken and self._number in self._port.flows:
            self._port.write(frame(Kind.CREDIT, self._number, CREDIT.pack(self._taken)))
            self._taken = 0

    def _forget(self, reason: Reason) -> None:
        self._port.flows.pop(self._number, None)
        self._port.write(frame(Kind.RESET, self._number, bytes((reason,))))


class Egress:
    """Everything that leads out of a restricted machine, from `open` on. Raises OSError where it cannot be made."""

    def __init__(self, port: NetworkPort) -> None:
        self._port = port
        self._redirection: Redirection | None = None
        self._taps: list[UdpTap | IcmpTap] = []
        self._servers: list[asyncio.Server] = []

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
        loop = asyncio.get_running_loop()
        for listener in tcp:
            listener.setblocking(False)
            server = await loop.create_server(lambda: TcpFlow(self._port), sock=listener, backlog=_BACKLOG)
            self._servers.append(server)


__all__ = ["ICMP", "Egress", "NetworkPort", "TcpFlow"]
