"""From a program to servers in a box: no port need be published for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engine.errors import BoxliteError, InvalidArgumentError, InvalidStateError

if TYPE_CHECKING:
    from engine.net.flow import Flow
    from engine.runtime import Runtime
    from engine.runtime.link import BoxLink
    from engine.runtime.network import ListenAddress

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketAddress:
    """An address of this host: a `path` (a Unix socket), or a numeric `host` with a `port` (0: any that is free)."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str | None = None

    @classmethod
    def tcp(cls, host: str = "127.0.0.1", port: int = 0) -> Self:
        """A TCP address."""
        return cls(host=host, port=port)

    @classmethod
    def unix(cls, path: str | Path) -> Self:
        """A Unix socket, which is made anew."""
        return cls(path=str(path))

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class BoxConnection:
    """One connection to a server in a box. Every method but `close` raises ConnectionError once it is lost."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    async def read(self, max_bytes: int = 65536) -> bytes:
        """At least one byte, at most `max_bytes`; b"" once the server has ended its side."""
        return await self._flow.read(max_bytes)

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the server does not read."""
        await self._flow.write(data)

    async def write_eof(self) -> None:
        """Nothing more comes from here; reading goes on."""
        await self._flow.write_eof()

    async def close(self) -> None:
        """End both directions. Idempotent."""
        self._flow.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class TunnelForwarder:
    """A listening address of this host whose callers are connected to a port of a box, each on its own. It ends with
    `close`, or with the box."""

    def __init__(self, address: SocketAddress, serving: asyncio.Task[None]) -> None:
        self._address = address
        self._serving = serving

    def local_addr(self) -> SocketAddress:
        """Where it listens, with the port that was picked."""
        return self._address

    async def wait(self) -> None:
        """Until it has ended."""
        await asyncio.wait((self._serving,))

    async def close(self) -> None:
        """End it and its connections. Idempotent."""
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class BoxTunnel:
    """A way to one TCP port of a box, to be used once: with `connect` or with `forward`."""

    def __init__(self, runtime: Runtime, link: BoxLink, port: int) -> None:
        self._runtime = runtime
        self._link = link
        self._port = port
        self._used = False

    def uri(self) -> str | None:
        """Where the port can be reached from elsewhere: None, since the box is on this host."""
        return None

    async def connect(self) -> BoxConnection:
        """Connect to the server. Raises NotFoundError when nothing listens there, InvalidStateError for a box that does
        not run or a tunnel that was used."""
        self._use()
        return BoxConnection(await self._link.tunnel(self._port))

    async def forward(self, address: SocketAddress | None = None) -> TunnelForwarder:
        """Have callers of an address of this host (None: any port of 127.0.0.1) connected to the server. A caller that
        cannot be connected is disconnected, and why is in the log `boxlite.network`. Raises PortInUseError."""
        from engine.runtime.network import ListenAddress

        self._use()
        listen = address or SocketAddress()
        wanted = ListenAddress(host=listen.host, port=listen.port, path=listen.path)
        bound: asyncio.Future[SocketAddress] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(self._serve(wanted, bound))
        try:
            await asyncio.wait((serving, bound), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            serving.cancel()
            raise
        if not bound.done():
            serving.result()
        return TunnelForwarder(bound.result(), serving)

    async def _serve(self, wanted: ListenAddress, bound: asyncio.Future[SocketAddress]) -> None:
        box_id = self._link.record.id
        async with self._runtime.network.tunnel(
            box_id, self._port, wanted, on_failure=lambda why: _log.warning("%s", why)
        ) as listening:
            bound.set_result(SocketAddress(host=listening.host, port=listening.port, path=listening.path))
            with contextlib.suppress(BoxliteError):  # gone is ended, too
                await self._runtime.wait(box_id)

    def _use(self) -> None:
        if self._used:
            raise InvalidStateError(
                f"the tunnel to port {self._port} was used",
                hint="ask for another one: box.network.tunnel(port)",
                box=self._link.record.name,
                operation="tunnel",
            )
        self._used = True


class BoxNetwork:
    """Reached as `Box.network` and `SimpleBox.network`."""

    def __init__(self, opened: Callable[[], tuple[Runtime, BoxLink]]) -> None:
        self._opened = opened

    async def tunnel(self, port: int) -> BoxTunnel:
        """A way to a TCP port of the box, whether it is published or not and whatever the box's network is. Nothing is
        connected yet. Raises InvalidArgumentError for what is no port."""
        if not 1 <= port <= 65535:
            raise InvalidArgumentError(f"port {port} is not between 1 and 65535", operation="tunnel")
        return BoxTunnel(*self._opened(), port)
