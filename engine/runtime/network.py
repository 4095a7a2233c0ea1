"""The network of boxes, seen from the host: what they tried to reach, how much they sent, and tunnels to their ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from engine.errors import BoxliteError, InvalidStateError, NetworkError, PortInUseError
from engine.model import BoxRecord
from engine.net.connectionlog import ConnectionEntry, open_log, read_entries, rotated
from engine.net.flow import StreamFlow, relay
from engine.portal.session import GuestSession
from engine.runtime.context import Context
from engine.runtime.records import get_box
from engine.runtime.restrictions import is_restricted
from engine.runtime.running import session_with
from engine.shim.control import ask_shim
from engine.values import dataclass

FOLLOW_POLL_S = 0.1
STREAM_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where a tunnel waits for callers: a `path` (a Unix socket), or a numeric `host` and a `port` (0: any)."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_LOOKED_AT = "boxes with --allow-net, --deny-net, --host-access disabled, --secret or a cap"


class BoxNetworks:
    """Part of Runtime's face. A `ref` is a box's id, name, or beginning of its id."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def log(self, ref: str, *, follow: bool = False) -> AsyncIterator[ConnectionEntry]:
        """What a restricted box tried to reach, oldest first; with `follow` until it ends.

        Raises InvalidStateError for a box whose network is not restricted: nobody looks at its connections.
        """
        record = await get_box(self._context, ref)
        path = self._context.layout.box(record.id).connections_log
        if not is_restricted(record.spec) and not path.exists():
            raise InvalidStateError(
                "its network is not restricted, so its connections pass unseen",
                hint=f"{_LOOKED_AT} have a log",
                box=record.name,
                operation="network log",
            )
        with contextlib.suppress(FileNotFoundError), open_log(rotated(path)) as file:
            for entry in read_entries(file):
                yield entry
        async for entry in _entries(self._context, record, path, follow=follow):
            yield entry

    async def counts(self, ref: str) -> dict[str, object]:
        """What a restricted box that runs sent and received since its start, also by host."""
        record = await get_box(self._context, ref)
        if not is_restricted(record.spec):
            raise InvalidStateError(
                "its network is not restricted, so nobody counts what it exchanges with whom",
                hint=f"{_LOOKED_AT} are counted; `boxlite stats {record.name}` has the sums of any box",
                box=record.name,
                operation="network hosts",
            )
        return await network_counts(self._context, record)

    @contextlib.asynccontextmanager
    async def tunnel(
        self, ref: str, port: int, listen: ListenAddress, *, on_failure: Callable[[str], None]
    ) -> AsyncIterator[ListenAddress]:
        """Forward callers of an address of this host to a TCP port of a running box, whatever its network is, until the
        context is left; the address as it was bound. A caller that cannot be connected is told to `on_failure`."""
        record = await get_box(self._context, ref)
        async with session_with(self._context, record, "tunnel") as session:
            listener = _bind(listen)
            callers = _Callers(session, port, on_failure)
            server = await asyncio.start_server(callers.serve, sock=listener, limit=STREAM_LIMIT_BYTES)
            try:
                yield _bound(listen, listener)
            finally:
                server.close()
                await callers.close()
                if listen.path is not None:
                    Path(listen.path).unlink(missing_ok=True)


class _Callers:
    """Everybody who uses one tunnel."""

    def __init__(self, session: GuestSession, port: int, on_failure: Callable[[str], None]) -> None:
        self._session = session
        self._port = port
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        caller = StreamFlow(reader, writer)
        try:
            from engine.portal.tunnels import open_tunnel

            await relay(caller, await open_tunnel(self._session, self._port))
        except BoxliteError as error:
            self._on_failure(str(error))
            caller.abort()
        except asyncio.CancelledError:  # the tunnel is closed; that is no failure of this caller's task
            caller.abort()
        finally:
            caller.close()
            self._tasks.discard(task)

    async def close(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bind(listen: ListenAddress) -> socket.socket:
    if listen.path is not None:
        from engine.sockets import listen_unix

        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(listen.path).st_mode):
                raise PortInUseError(
                    f"{listen.path} is there already, and it is no socket", hint="name another path"
                )
        try:
            return listen_unix(Path(listen.path))
        except OSError as error:
            raise NetworkError(f"no socket can be made at {listen.path}: {error.strerror}") from error
    from engine.model import PortSpec
    from engine.net.plan import bind_port

    listener = bind_port(PortSpec(box_port=1, host_ip=listen.host, host_port=listen.port))
    listener.listen(128)
    return listener


def _bound(listen: ListenAddress, listener: socket.socket) -> ListenAddress:
    if listen.path is not None:
        return listen
    return ListenAddress(host=listen.host, port=int(listener.getsockname()[1]))


async def network_counts(context: Context, record: BoxRecord) -> dict[str, object]:
    """Raises InvalidStateError for a box that does not run, or whose network is not restricted."""
    if not record.status.is_active:
        raise InvalidStateError(f"it is {record.status}", box=record.name, operation="network stats")
    answer = await ask_shim(context.layout.box(record.id), {"op": "network"})
    counts = answer.get("network")
    return counts if isinstance(counts, dict) else {}


async def _entries(
    context: Context, record: BoxRecord, path: Path, *, follow: bool
) -> AsyncIterator[ConnectionEntry]:
    """The log is a file another process writes, and may put aside: it is looked at ten times a second."""
    file = None
    try:
        while True:
            active = follow and (await get_box(context, record.id)).status.is_active
            if file is None:
                with contextlib.suppress(FileNotFoundError):
                    file = open_log(path)
            if file is not None:
                for entry in read_entries(file):
                    yield entry
                if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    file.close()
                    file = None
            if not active:
                return
            await asyncio.sleep(FOLLOW_POLL_S)
    finally:
        if file is not None:
            file.close()
