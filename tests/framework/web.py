"""Web servers of our own, with certificates of our own authority, and a gateway that intercepts connections to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from engine.model import Secret, SecretSpec, utc_now
from engine.net.flow import Flow, StreamFlow, Target, relay
from engine.net.interception.authority import ROOT_LIFE, generate_authority
from engine.net.interception.hello import parse_hello
from engine.net.interception.interceptor import Interception, Interceptor
from engine.net.secrets import SecretsGrant


class TestAuthority:
    """A certificate authority for servers of tests. `certificate` is its PEM file."""

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "test authority")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = directory / "authority.pem"
        self.certificate.write_bytes(root.public_bytes(Encoding.PEM))

    def issue(self, *names: str) -> Path:
        """A file with key and certificate for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            self._builder(x509.Name([]), key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        path = self._directory / f"{names[0].replace('*', 'any')}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + leaf.public_bytes(Encoding.PEM)
        )
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = utc_now().replace(microsecond=0)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - (ROOT_LIFE / 3650))
            .not_valid_after(now + ROOT_LIFE)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


@dataclass(frozen=True)
class SeenRequest:
    """A request as a server got it. Header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    http_version: str
    body_bytes: int = 0
    body_sha256: str = ""
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class WebApplication:
    """An ASGI application whose paths behave in the ways that matter, and which remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[SeenRequest] = []
        self.released = threading.Event()
        """Set by a test to let /held go on."""

    @property
    def last(self) -> SeenRequest:
        return self.seen[-1]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            name = scope["path"].strip("/").replace("-", "_") or "echo"
            if name == "refuse_early":
                await self._answer(send, 413, body=b"too large\n")
                return
            request = await self._read(scope, receive)
            self.seen.append(request)
            await getattr(self, f"_{name}", self._echo)(request, send)

    async def _read(self, scope: dict[str, Any], receive: Receive) -> SeenRequest:
        digest, size, kept = sha256(), 0, b""
        while True:
            message = await receive()
            part = message.get("body", b"")
            digest.update(part)
            size += len(part)
            kept = (kept + part)[:65536]
            if not message.get("more_body"):
                break
        return SeenRequest(
            method=scope["method"],
            path=scope["raw_path"].decode(),
            query=scope["query_string"].decode(),
            headers={name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
            http_version=scope["http_version"],
            body_bytes=size,
            body_sha256=digest.hexdigest(),
            body=kept,
        )

    async def _answer(
        self, send: Send, status: int = 200, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"ok\n"
    ) -> None:
        fields = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        fields.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    async def _echo(self, request: SeenRequest, send: Send) -> None:
        shown = {"body_bytes": request.body_bytes, "sha256": request.body_sha256, "path": request.path}
        await self._answer(send, body=json.dumps(shown).encode())

    async def _reflect(self, request: SeenRequest, send: Send) -> None:
        """Every header and the query come back as headers."""
        headers = [(f"x-seen-{name}", value) for name, value in request.headers.items()]
        headers += [("x-query", request.query), ("x-query-plain", unquote_plus(request.query))]
        await self._answer(
            send, headers=(*headers, ("set-cookie", f"k={request.headers.get('x-api-key', '')}"))
        )

    async def _redirect(self, request: SeenRequest, send: Send) -> None:
        to = parse_qs(request.query)["to"][0]
        await self._answer(send, 302, headers=(("location", f"{to}?{request.query}"),))

    async def _chunked(self, request: SeenRequest, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(5):
            await send({"type": "http.response.body", "body": b"%d" % number * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    async def _held(self, request: SeenRequest, send: Send) -> None:
        """A first event at once; the second when the test has seen the first."""
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream")],
        }
        await send(start)
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        await asyncio.to_thread(self.released.wait, 20)
        await send({"type": "http.response.body", "body": b"data: second\n\n"})

    async def _large(self, request: SeenRequest, send: Send) -> None:
        size = int(parse_qs(request.query)["size"][0])
        fields = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        piece = bytes(range(256)) * 256
        for _ in range(size // len(piece)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _trailers(self, request: SeenRequest, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"trailer", b"x-key")],
            "trailers": True,
        }
        await send(start)
        await send({"type": "http.response.body", "body": b"body"})
        value = request.headers.get("x-api-key", "").encode()
        await send({"type": "http.response.trailers", "headers": [(b"x-key", value)], "more_trailers": False})

    async def _empty(self, request: SeenRequest, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _websocket(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.seen.append(
            SeenRequest("GET", scope["path"], scope["query_string"].decode(), headers, scope["http_version"])
        )
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            reply = {"type": "websocket.send"}
            await send(
                reply | {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
            )


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
