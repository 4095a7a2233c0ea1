"""The gateway's end of a restricted box's network port: frames of a stranger made into flows (see guest.wire.flows).

What a lying agent can cost is bounded: a window per flow, a number of flows, and memory for what is held in all of them
together, past which nothing more is read from that box.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from engine.net.flow import Flow
from engine.net.shaping import Shaper
from guest.wire.flows import (
    CREDIT,
    CREDIT_STEP_BYTES,
    ICMP,
    MAX_DATA_BYTES,
    MAX_FLOWS,
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
    unpack_address,
)

MAX_HELD_BYTES = 64 * 1024 * 1024
MAX_QUEUED_PACKETS = 64
_HIGH_WATER = 2 * 1024 * 1024


class Mux(asyncio.BufferedProtocol):
    """All flows of one box. `on_open` is called for each that the box opens, in a task of its own; a flow is over when
    that returns. `lost` is done when the machine is gone, or when its agent broke the protocol (then with the reason)."""

    def __init__(self, shaper: Shaper, on_open: Callable[[Channel], Awaitable[None]]) -> None:
        self.shaper = shaper
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._on_open = on_open
        self._channels: dict[int, Channel] = {}
        self._next = 2
        self._parser = FrameParser(self._receive)
        self._buffer = memoryview(bytearray(512 * 1024))
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._held_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._parser.feed(bytes(self._buffer[:nbytes]))
        except FramingError as error:
            self._end(f"the machine's agent broke the protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end(self, reason: str) -> None:
        self._writable.set()
        for channel in tuple(self._channels.values()):
            channel.receive(Kind.RESET, bytes((Reason.LOST,)))
        self._channels.clear()
        if self._transport is not None:
            self._transport.abort()
        if not self.lost.done():
            self.lost.set_result(reason)

    # ------------------------------------------------------------ flows

    def open_stream(self, port: int) -> StreamChannel:
        """A connection to a TCP port of the box."""
        channel = StreamChannel(self, self._take_number(), bytes(4), port)
        self._open(channel, TCP)
        return channel

    def open_packets(self, port: int) -> PacketChannel:
        """Datagrams to a UDP port of the box."""
        channel = PacketChannel(self, self._take_number(), bytes(4), port, protocol=UDP)
        self._open(channel, UDP)
        return channel

    def _take_number(self) -> int:
        number = self._next
        self._next += 2
        return number

    def _open(self, channel: Channel, protocol: int) -> None:
        self._channels[channel.number] = channel
        opening = OPENING.pack(protocol, channel.port, pack_address(channel.address))
        self.send(Kind.OPEN, channel.number, opening)

    def _receive(self, kind: int, number: int, payload: bytes) -> None:
        channel = self._channels.get(number)
        if channel is not None:
            channel.receive(kind, payload)
        elif kind == Kind.OPEN:
            self._opened(number, payload)

    def _opened(self, number: int, payload: bytes) -> None:
        if number % 2 == 0 or len(payload) != OPENING.size:
            raise FramingError("a flow that cannot be")
        if self.is_full:
            self.send(Kind.RESET, number, bytes((Reason.REFUSED,)))
            return
        protocol, port, mapped = OPENING.unpack(payload)
        address = unpack_address(mapped)
        channel: Channel
        if protocol == TCP:
            channel = StreamChannel(self, number, address, port)
        elif protocol in (UDP, ICMP):
            channel = PacketChannel(self, number, address, port, protocol=protocol)
        else:
            raise FramingError(f"a flow of protocol {protocol}")
        self._channels[number] = channel
        self.spawn(self._serve(channel))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside, for as long as the gateway lives."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, channel: Channel) -> None:
        try:
            await self._on_open(channel)
        finally:
            channel.abort()

    def forget(self, channel: Channel) -> bool:
        """False when it was over already."""
        return self._channels.pop(channel.number, None) is not None

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(kind, number, payload))

    @property
    def is_full(self) -> bool:
        """Has the box as many flows as it may have?"""
        return len(self._channels) >= MAX_FLOWS

    @property
    def is_writable(self) -> bool:
        return self._writable.is_set()

    async def writable(self) -> None:
        await self._writable.wait()

    def hold(self, count: int) -> None:
        """Account for bytes that a flow keeps (or, negative, has given away)."""
        before, self._held_bytes = self._held_bytes, self._held_bytes + count
        if self._transport is None or self._transport.is_closing():
            return
        if before <= MAX_HELD_BYTES < self._held_bytes:
            self._transport.pause_reading()
        elif self._held_bytes <= MAX_HELD_BYTES < before:
            self._transport.resume_reading()


class Channel:
    """What a stream and a pair of datagram ends have in common. `address` is packed: where the box wants to go."""

    def __init__(self, mux: Mux, number: int, address: bytes, port: int) -> None:
        self.mux = mux
        self.number = number
        self.address = address
        self.port = port
        self.bytes_out = 0
        """Taken from the box so far."""
        self.bytes_in = 0
        """Given to it so far."""

    def receive(self, kind: int, payload: bytes) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        self.reset(Reason.LOST)

    def reset(self, reason: Reason) -> None:
        """End it at once; the box's program sees why."""
        if self.mux.forget(self):
            self.mux.send(Kind.RESET, self.number, bytes((reason,)))
        self._over()

    def _over(self) -> None:
        raise NotImplementedError


class StreamChannel(Channel, Flow):
    """One TCP connection of the box."""

    def __init__(self, mux: Mux, number: int, address: bytes, port: int) -> None:
        Channel.__init__(self, mux, number, address, port)
        Flow.__init__(self)
        self._chunks: deque[bytes] = deque()
        self._held_bytes = 0
        self._allowed_bytes = WINDOW_BYTES
        self._taken_bytes = 0
        self._credit = WINDOW_BYTES
        self._changed = asyncio.Event()
        self._credited = asyncio.Event()
        self._ended_there = self._ended_here = self._lost = False
        self.reset_reason = Reason.LOST

    def receive(self, kind: int, payload: bytes) -> None:
        match kind:
            case Kind.DATA:
                if len(payload) > self._allowed_bytes or self._ended_there:
                    raise FramingError("more bytes than its window")
                self._allowed_bytes -= len(payload)
                self._chunks.append(payload)
                self._held_bytes += len(payload)
                self.mux.hold(len(payload))
                self._changed.set()
            case Kind.CREDIT if len(payload) == CREDIT.size:
                self._credit = min(self._credit + CREDIT.unpack(payload)[0], WINDOW_BYTES)
                self._credited.set()
            case Kind.END:
                self._ended_there = True
                self._changed.set()
                self._forget_when_ended()
            case Kind.RESET:
                self.reset_reason = Reason(payload[0]) if payload[:1] in _REASONS else Reason.LOST
                self.mux.forget(self)
                self._lost = True
                self._over()
            case _:
                raise FramingError(f"a frame of kind {kind} in a stream")

    async def _read(self, max_bytes: int) -> bytes:
        while not self._chunks:
            if self._lost:
                raise ConnectionResetError("the box reset the connection")
            if self._ended_there:
                return b""
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        max_bytes = min(max_bytes, self.mux.shaper.tx_piece_bytes)
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._let_go(len(chunk))
        self.bytes_out += len(chunk)
        await self.mux.shaper.sent(len(chunk))
        return chunk

    def _let_go(self, count: int) -> None:
        self._held_bytes -= count
        self.mux.hold(-count)
        self._taken_bytes += count
        if self._taken_bytes >= CREDIT_STEP_BYTES and not self._ended_there and not self._lost:
            self._allowed_bytes += self._taken_bytes
            self.mux.send(Kind.CREDIT, self.number, CREDIT.pack(self._taken_bytes))
            self._taken_bytes = 0

    async def write(self, data: bytes) -> None:
        position, most = 0, min(MAX_DATA_BYTES, self.mux.shaper.rx_piece_bytes)
        while position < len(data):
            await self.mux.writable()
            while self._credit <= 0 and not self._lost:
                self._credited.clear()
                await self._credited.wait()
            if self._lost or self._ended_here:
                raise ConnectionResetError("the box reset the connection")
            piece = data[position : position + min(self._credit, most)]
            await self.mux.shaper.received(len(piece))
            self._credit -= len(piece)
            position += len(piece)
            self.bytes_in += len(piece)
            self.mux.send(Kind.DATA, self.number, piece)

    async def write_eof(self) -> None:
        if not self._ended_here and not self._lost:
            self._ended_here = True
            self.mux.send(Kind.END, self.number)
            self._forget_when_ended()

    def _forget_when_ended(self) -> None:
        if self._ended_here and self._ended_there:
            self.mux.forget(self)

    def close(self) -> None:
        """Ends both directions; what the box still sends is dropped."""
        if not self._ended_here and not self._lost:
            self._ended_here = True
            self.mux.send(Kind.END, self.number)
        if not self._ended_there:
            self.reset(Reason.LOST)

    def _over(self) -> None:
        self._lost = True
        self.mux.hold(-self._held_bytes)
        self._held_bytes = 0
        self._chunks.clear()
        self._changed.set()
        self._credited.set()


class PacketChannel(Channel):
    """Datagrams between the box and one address; what comes too fast is dropped."""

    def __init__(self, mux: Mux, number: int, address: bytes, port: int, *, protocol: int) -> None:
        super().__init__(mux, number, address, port)
        self.protocol = protocol
        self._packets: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED_PACKETS + 1)

    def receive(self, kind: int, payload: bytes) -> None:
        if kind == Kind.DATAGRAM:
            if self._packets.qsize() < MAX_QUEUED_PACKETS and self.mux.shaper.may_send(len(payload)):
                self._packets.put_nowait(payload)
        elif kind == Kind.RESET:
            self.mux.forget(self)
            self._over()

    async def take(self) -> bytes | None:
        """The next packet of the box; None when there will be no more."""
        packet = await self._packets.get()
        if packet is not None:
            self.bytes_out += len(packet)
        return packet

    def give(self, packet: bytes) -> None:
        if self.mux.is_writable and self.mux.shaper.may_receive(len(packet)):
            self.bytes_in += len(packet)
            self.mux.send(Kind.DATAGRAM, self.number, packet)

    def _over(self) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._packets.put_nowait(None)


_REASONS = {bytes((reason,)) for reason in Reason}
