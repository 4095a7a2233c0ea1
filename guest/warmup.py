"""Doing once, before the template is saved, what every box will do: modules imported, tables built, programs cached.

What is in memory when the template is saved is there at once in every machine restored from it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.protocol import H2Protocol

from guest.cgroups import Cgroup
from guest.ports import PortalPort, PortPoller
from guest.reaper import Reaper
from guest.wire import portal_pb2 as pb
from guest.wire.constants import HELLO_MAGIC, NONCE_BYTES, REPLY_MAGIC

_PROGRAMS = (("/usr/bin/busybox", "true"), ("/usr/bin/crun", "--version"))
_CALLS = 3


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


async def warm_up(new_connection: Callable[[], asyncio.Protocol], reaper: Reaper, cgroup: Cgroup) -> None:
    """Serve a few calls to ourselves and run the programs that will be needed."""
    for argv in _PROGRAMS:
        _, status = reaper.spawn(argv, cgroup=cgroup)
        await status
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    poller = PortPoller(loop)
    port = PortalPort(theirs.fileno(), new_connection)
    poller.register(port)
    try:
        await say_hello(ours)
        channel = PairChannel(ours)
        ping = UnaryUnaryMethod(channel, "/boxlite.v1.Guest/Ping", pb.PingRequest, pb.PingReply)
        for _ in range(_CALLS):
            await ping(pb.PingRequest())
        channel.close()
    finally:
        poller.close()
        ours.close()
        theirs.close()
