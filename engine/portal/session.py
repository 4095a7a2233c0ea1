"""An open conversation with the agent of one machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import DecodeError

from engine import host
from engine.errors import RpcError, RpcTransportError
from engine.portal.connection import Relay
from engine.portal.failures import translated
from engine.portal.forking import claim_grpc
from engine.portal.greeting import greet
from engine.portal.leases import lease_port
from engine.portal.ports import PortLease
from engine.sockets import connect_unix
from guest.wire import portal_pb2 as wire
from guest.wire.constants import MAX_MESSAGE_BYTES, RUNS_METADATA

if TYPE_CHECKING:
    from grpc.aio import Channel

PACKAGE = "boxlite.v1"
MAX_METADATA_BYTES = 32 * 1024
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
    ("grpc.http2.max_frame_size", 256 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_reconnect_backoff_ms", 100),
)


DEADLINES_S = {"Boot": 90.0, "Exec": 60.0, "Kill": 30.0, "ResizeTty": 30.0}
"""How long an agent may take over a call whose caller names no deadline of its own. Streams have none, nor has waiting for a
command's end."""


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802  protobuf's name


def _serialize(message: _Message) -> bytes:
    return message.SerializeToString()


def _parser(kind: type[Any]) -> Callable[[bytes], Any]:
    """A parser that returns None for what is no message of its kind: grpcio would print a traceback."""

    def parse(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            return None

    return parse


def _checked(message: Any) -> Any:
    if message is None:
        raise RpcError("the agent sent something that is not an answer")
    return message


def _ask(call: Callable[..., Any], deadline_s: float | None) -> Callable[..., Any]:
    """A call that is answered once, within `deadline_s` unless the caller names another time."""

    async def ask(request: Any, *, timeout: float | None = deadline_s) -> Any:
        return _checked(await call(request, timeout=timeout))

    return ask


def _ask_and_listen(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call that is answered once, in which `heard` is called as soon as the agent says anything: one that takes no more
    says so by its metadata. A call it ended while we still send would lose the reason in grpcio."""

    async def ask(request: Any, *, heard: Callable[[], None]) -> Any:
        import asyncio

        def listened(said: asyncio.Future[Any]) -> None:
            if not said.cancelled() and said.exception() is None:
                heard()

        answer = call(request)
        metadata = asyncio.ensure_future(answer.initial_metadata())
        metadata.add_done_callback(listened)
        try:
            return _checked(await answer)
        finally:
            metadata.cancel()

    return ask


def _follow(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call that is answered by a stream."""

    async def follow(request: Any) -> AsyncIterator[Any]:
        answer = call(request)
        try:
            async for message in answer:
                yield _checked(message)
        finally:
            answer.cancel()

    return follow


def _begin_and_follow(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call that is answered by a stream, in which `begun` is called when the agent says that what was asked for runs."""

    async def follow(request: Any, *, begun: Callable[[], None]) -> AsyncIterator[Any]:
        answer = call(request)
        try:
            if any(key == RUNS_METADATA for key, _ in await answer.initial_metadata()):
                begun()
            async for message in answer:
                yield _checked(message)
        finally:
            answer.cancel()

    return follow


class GuestSession:
    """The agent's calls, one method each (see guest/wire/portal.proto for what they mean).

    Many calls may be under way at once; they share the connection. `sockets_dir` is where lanes are opened. Errors are
    grpcio's: callers in this room wrap them with `translated`.
    """

    def __init__(self, channel: Channel, sockets_dir: Path) -> None:
        self.sockets_dir = sockets_dir

        def call(kind: Callable[..., Any], service: str, method: str, reply: type[Any]) -> Any:
            made = kind(
                f"/{PACKAGE}.{service}/{method}",
                request_serializer=_serialize,
                response_deserializer=_parser(reply),
            )
            if kind == channel.unary_stream:
                return _follow(made)
            return _ask(made, DEADLINES_S.get(method))

        unary = channel.unary_unary
        self.boot = call(unary, "Guest", "Boot", wire.BootReply)
        self.ping = call(unary, "Guest", "Ping", wire.PingReply)
        self.shutdown = call(unary, "Guest", "Shutdown", wire.ShutdownReply)
        self.quiesce = call(unary, "Guest", "Quiesce", wire.QuiesceReply)
        self.thaw = call(unary, "Guest", "Thaw", wire.ThawReply)
        self.metrics = call(unary, "Guest", "Metrics", wire.MetricsReply)
        self.exec = call(unary, "Execution", "Exec", wire.ExecReply)
        self.run = _begin_and_follow(
            channel.unary_stream(
                f"/{PACKAGE}.Execution/Run",
                request_serializer=_serialize,
                response_deserializer=_parser(wire.Output),
            )
        )
        self.attach = call(channel.unary_stream, "Execution", "Attach", wire.Output)
        self.send_input = call(channel.stream_unary, "Execution", "SendInput", wire.InputReply)
        self.wait = call(unary, "Execution", "Wait", wire.WaitReply)
        self.kill = call(unary, "Execution", "Kill", wire.KillReply)
        self.resize = call(unary, "Execution", "ResizeTty", wire.ResizeReply)
        self.list = call(unary, "Execution", "List", wire.ListReply)
        self.upload = call(channel.stream_unary, "Files", "Upload", wire.UploadReply)
        self.download = call(channel.unary_stream, "Files", "Download", wire.DownloadChunk)
        self.stat = call(unary, "Files", "Stat", wire.StatReply)
        self.tunnel = channel.stream_stream(
            f"/{PACKAGE}.Tunnels/Connect",
            request_serializer=_serialize,
            response_deserializer=_parser(wire.TunnelChunk),
        )
        self.read = call(channel.unary_stream, "Files", "Read", wire.DownloadChunk)
        self.write = _ask_and_listen(
            channel.stream_unary(
                f"/{PACKAGE}.Files/Write",
                request_serializer=_serialize,
                response_deserializer=_parser(wire.WriteReply),
            )
        )
        self.list_files = call(channel.unary_stream, "Files", "List", wire.DownloadChunk)
        self.change = call(unary, "Files", "Change", wire.ChangeReply)


@contextlib.asynccontextmanager
async def open_session(
    sockets_dir: Path, *, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[GuestSession]:
    """Connect to the machine whose sockets are in `sockets_dir`; `on_wait` is called where others use all of its ports.

    Raises RpcTransportError when nothing listens there or the agent does not answer, UnsupportedError where gRPC cannot be
    used (see engine.portal.forking).
    """
    import asyncio

    claim_grpc()
    lease = await lease_port(sockets_dir, on_wait)
    try:
        connecting = asyncio.ensure_future(asyncio.to_thread(connect, sockets_dir, lease))
        await asyncio.sleep(0)  # let it begin: the import takes as long as the agent's answer
        with host.setting_up_grpc():
            import grpc

        relay = Relay(await connecting)
        try:
            channel = grpc.aio.insecure_channel(relay.target, options=CHANNEL_OPTIONS)
            try:
                yield GuestSession(channel, sockets_dir)
            finally:
                await channel.close()
        finally:
            relay.close()
    finally:
        lease.release()


def connect(sockets_dir: Path, lease: PortLease) -> socket.socket:
    """A greeted port. Blocks. Raises RpcTransportError."""
    try:
        port = connect_unix(sockets_dir / f"portal-{lease.number}.sock")
    except OSError as error:
        raise RpcTransportError(f"the machine cannot be reached: {error.strerror}") from error
    try:
        greet(port, flush=lease.was_abandoned)
    except BaseException:
        port.close()
        raise
    return port


async def ping(session: GuestSession, *, timeout_s: float = 5.0) -> str:
    """The agent's version."""
    with translated("ping"):
        reply = await session.ping(wire.PingRequest(), timeout=timeout_s)
    return str(reply.version)
