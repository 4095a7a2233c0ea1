"""Tunnels to boxes for programs without an event loop."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from boxlite.background import background

if TYPE_CHECKING:
    from boxlite.network import BoxConnection, BoxNetwork, BoxTunnel, SocketAddress, TunnelForwarder


class SyncBoxConnection:
    """`BoxConnection`, called plainly."""

    def __init__(self, connection: BoxConnection) -> None:
        self._connection = connection

    def read(self, max_bytes: int = 65536) -> bytes:
        """See `BoxConnection.read`."""
        return background.run(self._connection.read(max_bytes))

    def write(self, data: bytes) -> None:
        """See `BoxConnection.write`."""
        background.run(self._connection.write(data))

    def write_eof(self) -> None:
        """See `BoxConnection.write_eof`."""
        background.run(self._connection.write_eof())

    def close(self) -> None:
        """See `BoxConnection.close`."""
        background.run(self._connection.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncTunnelForwarder:
    """`TunnelForwarder`, called plainly."""

    def __init__(self, forwarder: TunnelForwarder) -> None:
        self._forwarder = forwarder

    def local_addr(self) -> SocketAddress:
        """See `TunnelForwarder.local_addr`."""
        return self._forwarder.local_addr()

    def wait(self) -> None:
        """See `TunnelForwarder.wait`."""
        background.run(self._forwarder.wait())

    def close(self) -> None:
        """See `TunnelForwarder.close`."""
        background.run(self._forwarder.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncBoxTunnel:
    """`BoxTunnel`, called plainly."""

    def __init__(self, tunnel: BoxTunnel) -> None:
        self._tunnel = tunnel

    def uri(self) -> str | None:
        """See `BoxTunnel.uri`."""
        return self._tunnel.uri()

    def connect(self) -> SyncBoxConnection:
        """See `BoxTunnel.connect`."""
        return SyncBoxConnection(background.run(self._tunnel.connect()))

    def forward(self, address: SocketAddress | None = None) -> SyncTunnelForwarder:
        """See `BoxTunnel.forward`."""
        return SyncTunnelForwarder(background.run(self._tunnel.forward(address)))


class SyncBoxNetwork:
    """`BoxNetwork`, called plainly."""

    def __init__(self, network: BoxNetwork) -> None:
        self._network = network

    def tunnel(self, port: int) -> SyncBoxTunnel:
        """See `BoxNetwork.tunnel`."""
        return SyncBoxTunnel(background.run(self._network.tunnel(port)))
