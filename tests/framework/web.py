"""Web servers of our own, with certificates of our own authority, and a gateway that intercepts connections to them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.model import Secret, SecretSpec
from engine.net.flow import Flow, StreamFlow, Target, relay
from engine.net.interception.authority import generate_authority
from engine.net.interception.hello import parse_hello
from engine.net.interception.interceptor import Interception, Interceptor
from engine.net.secrets import SecretsGrant
from tests.framework.authority import TestAuthority
from tests.framework.web_application import WebApplication


class LoopThread:
    """An event loop in a thread, so that tests may block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self) -> None:
        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for transport in list(self.loop._transports.values()):  # type: ignore[attr-defined]
                transport.abort()  # one that still has something to send, or waits for the end of TLS
            await asyncio.sleep(0.05)  # transports close in the loop's next turns

        self.run(cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@dataclass
class WebServer:
    """Hypercorn on loopback, with HTTP/1.1 and HTTP/2 over TLS."""

    port: int
    _end: asyncio.Event
    _task: asyncio.Task[None]

    async def stop(self) -> None:
        self._end.set()
        await self._task


async def serve_web(
    application: WebApplication, certificate: Path, *, bind: str = "127.0.0.1:0"
) -> WebServer:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [bind]
    config.certfile = config.keyfile = str(certificate)
    config.alpn_protocols = ["h2", "http/1.1"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.2
    end = asyncio.Event()
    sockets = config.create_sockets()
    config.create_sockets = lambda: sockets  # type: ignore[method-assign]
    port: int = sockets.secure_sockets[0].getsockname()[1]
    task = asyncio.create_task(serve(application, config, shutdown_trigger=end.wait))  # type: ignore[arg-type]
    return WebServer(port, end, task)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve_raw(handler: Handler, certificate: Path, *protocols: str) -> int:
    """Serve connections over TLS with a function that does what no proper server would; the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if protocols:
        context.set_alpn_protocols(list(protocols))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                await handler(reader, writer)
        finally:
            writer.close()

    return await _listen(serve, context)


async def _listen(handler: Handler, context: ssl.SSLContext | None = None) -> int:
    """The port. The task that holds the server closes it when the loop is stopped."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    asyncio.get_running_loop().create_task(server.serve_forever()).set_name("listener")
    return int(server.sockets[0].getsockname()[1])


class TestGateway:
    """What the gateway of a box does, without a box: reads the name, opens the connection, and lets intercept."""

    __test__ = False

    def __init__(self, interceptor: Interceptor, servers: dict[str, int]) -> None:
        self.interceptor = interceptor
        self.servers = servers
        self.begun: list[str] = []
        """Names whose connections were intercepted."""
        self._ended: queue.SimpleQueue[Interception] = queue.SimpleQueue()
        self.refusal: Exception | None = None
        """What opening a connection fails with, if it does."""

    def result(self) -> Interception:
        """What came of the next connection that ended."""
        return self._ended.get(timeout=15)

    def forget(self) -> None:
        self.begun.clear()
        self._ended = queue.SimpleQueue()
        self.refusal = None

    async def listen(self, port: int) -> int:
        """Listen as if it were `port`, on the port that is returned."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            flow = StreamFlow(reader, writer)
            try:
                with contextlib.suppress(OSError):
                    await self._serve(flow, port)
            except asyncio.CancelledError:
                flow.abort()
                raise
            flow.close()

        return await _listen(accept)

    async def _serve(self, flow: Flow, port: int) -> None:
        received = b""
        while (hello := parse_hello(received)) is None:
            received += await flow.read() or b"\0"
        flow.unread(received)
        name = hello.server_name
        target = Target(name=name, port=port, addresses=("127.0.0.1",))

        async def connect() -> Flow:
            if self.refusal is not None:
                raise self.refusal
            return StreamFlow(*await asyncio.open_connection("127.0.0.1", self.servers[name or ""]))

        if self.interceptor.wants(name, port):
            self.begun.append(name or "")
            self._ended.put(await self.interceptor.intercept(flow, target, connect))
        else:
            far = await connect()
            with contextlib.suppress(ExceptionGroup):
                await relay(flow, far)
            far.close()


def secret(name: str, value: str, *hosts: str, placeholder: str = "") -> Secret:
    return Secret(spec=SecretSpec(name=name, hosts=hosts, placeholder=placeholder), value=value)


@dataclass
class Stage:
    """Servers, the gateway before them, and what a client in the box would be given. `ports` are the gateway's, by the
    port they stand for."""

    application: WebApplication
    gateway: TestGateway
    ports: dict[int, int]
    box_ca: Path
    authority: TestAuthority
    thread: LoopThread
    names: tuple[str, ...]

    def curl(
        self, *words: str, port: int = 443, timeout_s: float = 20.0
    ) -> subprocess.CompletedProcess[bytes]:
        """curl as in the box: every name leads to the gateway, and both authorities are trusted."""
        bundle = self.box_ca.with_name("bundle.pem")
        bundle.write_bytes(self.box_ca.read_bytes() + self.authority.certificate.read_bytes())
        return subprocess.run(
            ("curl", "-sS", "--noproxy", "*", "--cacert", str(bundle), "--max-time", str(timeout_s),
             "--connect-to", f"::127.0.0.1:{self.ports[port]}", *words),
            capture_output=True, timeout=timeout_s + 5, check=False,
        )  # fmt: skip

    def client(self, name: str, *protocols: str, port: int = 443) -> ssl.SSLSocket:
        """A TLS connection as the box would open it."""
        context = ssl.create_default_context(cafile=str(self.box_ca))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(self.authority.certificate)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        plain = socket.create_connection(("127.0.0.1", self.ports[port]), timeout=10)
        return context.wrap_socket(plain, server_hostname=name)

    def serve(self, name: str, handler: Handler, *protocols: str) -> None:
        """Let a function be the server of a name."""
        port = self.thread.run(serve_raw(handler, self.authority.issue(name), *protocols))
        self.gateway.servers[name] = port


@contextlib.contextmanager
def open_stage(directory: Path, secrets: tuple[Secret, ...], names: tuple[str, ...]) -> Iterator[Stage]:
    """Serve `names` behind a gateway for 443 and 8443."""
    thread = LoopThread()
    try:
        authority = TestAuthority(directory)
        application = WebApplication()
        server = thread.run(serve_web(application, authority.issue(*names)))
        hosts = [host for secret in secrets for host, _ in secret.spec.targets]
        box_authority = generate_authority("test", hosts)
        box_ca = directory / "box.pem"
        box_ca.write_text(box_authority.certificate_pem)
        grant = SecretsGrant(secrets=secrets, authority=box_authority, ca_file=str(authority.certificate))
        gateway = TestGateway(Interceptor(grant), dict.fromkeys(names, server.port))
        ports = {number: thread.run(gateway.listen(number)) for number in (443, 8443)}
        yield Stage(application, gateway, ports, box_ca, authority, thread, names)
        thread.run(server.stop())
    finally:
        thread.stop()
