"""Doing once, before the template is saved, what every box will do: modules imported, tables built, programs cached.

What is in memory when the template is saved is there at once in every machine restored from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol

from guest.cgroups import Cgroup
from guest.entry import ITSELF
from guest.ports import PortalPort, PortPoller
from guest.reaper import Reaper
from guest.wire import portal_pb2 as pb
from guest.wire.constants import HELLO_MAGIC, NONCE_BYTES, REHEARSAL, REPLY_MAGIC

_PROGRAMS = (("/usr/bin/busybox", "true"), ("/usr/bin/crun", "--version"))
_CALLS = 3
_TURNS = 4
"""Of the event loop, for a call to be answered in."""


class PairChannel(Channel):
    """A client's channel over a socket that is connected already and through the preamble."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("localhost")
        self._pair = connected

    async def _create_connection(self) -> H2Protocol:
        loop = asyncio.get_running_loop()
        made = self._protocol_factory()
        await loop.create_connection(lambda: made, sock=self._pair)
        return made


async def say_hello(connected: socket.socket) -> None:
    """The client's side of the preamble. Raises ConnectionError when the answer is not ours."""
    loop = asyncio.get_running_loop()
    nonce = os.urandom(NONCE_BYTES)
    await loop.sock_sendall(connected, HELLO_MAGIC + nonce)
    expected = REPLY_MAGIC + nonce
    received = b""
    while len(received) < len(expected):
        data = await loop.sock_recv(connected, len(expected) - len(received))
        if not data:
            break
        received += data
    if received != expected:
        raise ConnectionError("the agent answered something else than our nonce")


class WarmUp:
    """Serves a few calls to itself and runs the programs that will be needed."""

    def __init__(
        self,
        new_connection: Callable[[], asyncio.Protocol],
        reaper: Reaper,
        cgroup: Cgroup,
        *,
        is_wanted: Callable[[], bool],
    ) -> None:
        """`is_wanted` tells that a real client has come."""
        self._new_connection = new_connection
        self._reaper = reaper
        self._cgroup = cgroup
        self._is_wanted = is_wanted
        self._pings: list[bytes] = []
        self._rehearsal: list[bytes] = []
        self._heard = self._pings

    async def all(self) -> None:
        """Before the template is saved."""
        for argv in _PROGRAMS:
            await self._run(argv)
        for _ in range(_CALLS):
            self._heard = self._pings = []
            await self._serve(self._ping)
        self._heard = self._rehearsal
        await self._serve(self._ask_for_rehearsal)

    async def again(self) -> None:
        """In a restored machine whose box is not known yet: an emulated processor has to translate all code anew, and may
        as well do so while it is idle. The client's part is not done again: it was taken down."""
        await self._hear(self._pings)
        if not self._is_wanted():
            await self._run(_PROGRAMS[0])

    async def rehearse(self) -> None:
        """In a box that nobody has run a command in yet: go the whole way of one, for the same reason. The command is the
        program that enters the container; once there it can do nothing, and ends."""
        await self._hear(self._rehearsal)

    async def _hear(self, requests: list[bytes]) -> None:
        protocol = self._new_connection()
        protocol.connection_made(_Nowhere())
        for data in requests:
            protocol.data_received(data)
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    async def _run(self, argv: tuple[str, ...]) -> None:
        _, status = self._reaper.spawn(argv, cgroup=self._cgroup)
        await status

    async def _serve(self, call: Callable[[Channel], Awaitable[None]]) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        poller = PortPoller(asyncio.get_running_loop())
        port = PortalPort(theirs.fileno(), self._overheard)
        poller.register(port)
        try:
            await say_hello(ours)
            channel = PairChannel(ours)
            await call(channel)
            channel.close()
        finally:
            poller.close()
            ours.close()
            theirs.close()

    async def _ping(self, channel: Channel) -> None:
        method = UnaryUnaryMethod(channel, "/boxlite.v1.Guest/Ping", pb.PingRequest, pb.PingReply)
        await method(pb.PingRequest())

    async def _ask_for_rehearsal(self, channel: Channel) -> None:
        """It is refused: there is no container yet. What counts is how it is asked for."""
        command = pb.ExecRequest(execution_id=REHEARSAL, argv=[ITSELF], background=True)
        method = UnaryStreamMethod(channel, "/boxlite.v1.Execution/Run", pb.RunRequest, pb.Output)
        with contextlib.suppress(GRPCError):
            await method(pb.RunRequest(command=command))

    def _overheard(self) -> asyncio.Protocol:
        protocol = self._new_connection()
        receive = protocol.data_received

        def overhear(data: bytes) -> None:
            self._heard.append(bytes(data))
            receive(data)

        protocol.data_received = overhear  # type: ignore[method-assign]
        return protocol


class _Nowhere(asyncio.Transport):
    """A connection whose answers nobody reads."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        return

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        return
