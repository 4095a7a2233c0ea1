"""What is particular to HTTP/1.1: framing, connections that serve many requests, upgrades, and who ends them."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.framework.waiting import eventually
from tests.framework.web import Handler, Stage
from tests.integration.net.conftest import VALUE

TOKEN = "<BOXLITE_SECRET:KEY>"
REAL = VALUE.encode()
MIB = 1024 * 1024


@pytest.fixture
def raw(stage: Stage) -> Iterator[ssl.SSLSocket]:
    with stage.client("api.test", "http/1.1") as connection:
        yield connection


def _answer(connection: socket.socket) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer


def _canned(*replies: bytes, seen: list[bytes] | None = None) -> Handler:
    """A server that reads the head of each request and answers it with the next reply, then ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            if seen is not None:
                seen.append(head)
            writer.write(reply)
            await writer.drain()

    return serve


def _ask(stage: Stage, request: bytes, name: str = "raw.test") -> bytes:
    """Everything that comes back for some bytes."""
    with stage.client(name, "http/1.1") as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


GET = b"GET / HTTP/1.1\r\nHost: raw.test\r\nX-Key: " + TOKEN.encode() + b"\r\n"


def test_connection_serves_many_requests(stage: Stage) -> None:
    connection = http.client.HTTPConnection("api.test")
    connection.sock = stage.client("api.test", "http/1.1")
    for number in range(5):
        connection.request("GET", f"/echo?n={number}", headers={"X-Key": TOKEN})
        assert connection.getresponse().read()
    connection.close()
    assert [request.query for request in stage.application.seen] == [f"n={number}" for number in range(5)]
    result = stage.gateway.result()
    assert (result.requests, result.secrets, result.failure) == (5, {"KEY"}, None)


def test_placeholder_split_across_packets_is_found(stage: Stage, raw: ssl.SSLSocket) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in b"GET /echo?q=%3CBOXLITE_SECRET%3AKEY%3E HTTP/1.1\r\nHost: api.test\r\nX-Key: <BOXLITE_SECRET:KEY>\r\n\r\n":
        raw.send(bytes((octet,)))
    assert _answer(raw).status == 200
    assert stage.application.last.headers["x-key"].encode("latin-1") == REAL
    assert "BOXLITE" not in stage.application.last.query


def test_requests_sent_before_their_answers_are_served_in_order(stage: Stage, raw: ssl.SSLSocket) -> None:
    raw.sendall(
        b"".join(b"GET /echo?n=%d HTTP/1.1\r\nHost: api.test\r\n\r\n" % number for number in range(4))
    )
    for _ in range(4):
        answer = _answer(raw)
        assert answer.status == 200
        answer.read()
    assert [request.query for request in stage.application.seen] == [f"n={number}" for number in range(4)]


def test_body_waits_for_leave_that_the_server_gives(stage: Stage, raw: ssl.SSLSocket) -> None:
    raw.sendall(b"POST /echo HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert raw.recv(1024).startswith(b"HTTP/1.1 100")
    raw.sendall(b"hello")
    assert _answer(raw).status == 200
    assert stage.application.last.body == b"hello"


def test_refusal_instead_of_leave_is_passed_on(stage: Stage, raw: ssl.SSLSocket) -> None:
    raw.sendall(
        b"POST /refuse-early HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    )
    assert _answer(raw).status == 413


def test_refusal_in_the_middle_of_an_upload_is_passed_on(stage: Stage) -> None:
    stage.serve("raw.test", _canned(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
    done = stage.curl("--http1.1", "-i", "-H", "Expect:", "-T", "/bin/bash", "https://raw.test/")
    assert done.stdout.startswith(b"HTTP/1.1 413")


def test_chunked_upload_arrives_whole(stage: Stage) -> None:
    words = ("--http1.1", "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", "/bin/bash")
    stage.curl(*words, "https://api.test/echo")
    with open("/bin/bash", "rb") as file:
        assert stage.application.last.body_sha256 == hashlib.file_digest(file, "sha256").hexdigest()


def test_trailers_of_request_pass_as_they_are(stage: Stage) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    stage.serve("raw.test", serve)
    body = (
        b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: "
        + TOKEN.encode()
        + b"\r\n\r\n"
    )
    assert b"200 OK" in _ask(stage, b"POST / HTTP/1.1\r\nHost: raw.test\r\n" + body)
    assert seen[1] == b"3\r\nabc\r\n0\r\nX-T: " + TOKEN.encode() + b"\r\n\r\n"


def test_value_in_trailers_of_answer_is_put_back(stage: Stage) -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\nX-T: %b\r\n\r\n"
    stage.serve("raw.test", _canned(reply % REAL))
    answer = _ask(stage, GET + b"\r\n")
    assert answer.endswith(b"0\r\nX-T: " + TOKEN.encode() + b"\r\n\r\n")
    assert REAL not in answer


def test_answer_that_ends_with_its_connection_is_whole(stage: Stage) -> None:
    stage.serve("raw.test", _canned(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"))
    done = stage.curl("--http1.1", "https://raw.test/")
    assert (done.returncode, done.stdout) == (0, b"until the end")


def test_old_client_gets_an_answer_it_can_read(stage: Stage) -> None:
    done = stage.curl("--http1.0", "https://api.test/chunked")
    assert done.stdout.endswith(b"4end")
    assert len(done.stdout) == 5003


def test_early_hints_are_passed_on(stage: Stage) -> None:
    stage.serve(
        "raw.test",
        _canned(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No\r\nConnection: close\r\n\r\n"
        ),
    )
    answer = _ask(stage, GET + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 103")
    assert b"HTTP/1.1 204" in answer


def test_spelling_and_order_of_headers_is_kept(stage: Stage) -> None:
    seen: list[bytes] = []
    reply = b"HTTP/1.1 200 OK\r\nX-ODD-case: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    stage.serve("raw.test", _canned(reply, seen=seen))
    answer = _ask(stage, GET + b"X-WEIRD-Spelling: 1\r\nX-Last: 2\r\n\r\n")
    assert seen == [GET.replace(TOKEN.encode(), REAL) + b"X-WEIRD-Spelling: 1\r\nX-Last: 2\r\n\r\n"]
    assert b"\r\nX-ODD-case: 1\r\n" in answer


def test_server_that_ends_an_idle_connection_ends_that_of_the_box(stage: Stage) -> None:
    stage.serve("raw.test", _canned(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    with stage.client("raw.test", "http/1.1") as connection:
        connection.sendall(GET + b"\r\n")
        assert _answer(connection).status == 200
        assert connection.recv(10) == b""


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)  # fmt: skip
def test_server_that_does_not_answer_properly_is_named(stage: Stage, reply: bytes) -> None:
    stage.serve("raw.test", _canned(reply))
    answer = _ask(stage, GET + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 502")
    assert b"raw.test did not answer properly" in answer


def test_answer_cut_short_is_not_taken_for_a_whole_one(stage: Stage) -> None:
    stage.serve("raw.test", _canned(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"))
    done = stage.curl("--http1.1", "https://raw.test/")
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET https://other.test/x HTTP/1.1\r\nHost: api.test\r\n\r\n", 421),
        (b"GET http://api.test/x HTTP/1.1\r\nHost: api.test\r\n\r\n", 400),
        (b"GET https://api.test/x HTTP/1.1\r\nHost: api.test\r\n\r\n", 200),
        (b"GET /x HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"GET /x HTTP/1.0\r\n\r\n", 400),
        (b"CONNECT other.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n", 405),
        (b"TRACE / HTTP/1.1\r\nHost: api.test\r\nX-Key: <BOXLITE_SECRET:KEY>\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: api.test\r\nX : y\r\n\r\n", 400),
        (b"not http at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: api.test\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", 431),
    ],
)
def test_request_that_could_mean_two_things_is_refused(
    stage: Stage, request_head: bytes, status: int
) -> None:
    answer = _ask(stage, request_head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), "api.test")
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert bool(stage.application.seen) == (status == 200)


async def test_websocket_carries_value_in_its_request_and_frames_untouched(stage: Stage) -> None:
    connector = aiohttp.TCPConnector(
        ssl=ssl.create_default_context(cafile=str(stage.box_ca)), resolver=_Loopback()
    )
    async with aiohttp.ClientSession(connector=connector, headers={"X-Key": TOKEN}) as session:
        url = f"https://api.test:{stage.ports[443]}/ws?k=%3CBOXLITE_SECRET:KEY%3E"
        async with session.ws_connect(url, headers={"Host": "api.test"}) as socket_:
            for text in ("hello", TOKEN, "x" * 100_000):
                await socket_.send_str(text)
                assert (await socket_.receive(timeout=10)).data == text
            await socket_.send_bytes(bytes(range(256)) * 1000)
            assert (await socket_.receive(timeout=10)).data == bytes(range(256)) * 1000
    # A session is closed before its connections are (aiohttp, "Graceful shutdown").
    connections = list(asyncio.get_running_loop()._transports.values())  # type: ignore[attr-defined]
    await asyncio.to_thread(eventually, lambda: all(one._sock is None for one in connections), within_s=10)
    assert stage.application.last.headers["x-key"].encode() == REAL
    assert "BOXLITE" not in stage.application.last.query


class _Loopback(aiohttp.abc.AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            {"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}
        ]

    async def close(self) -> None: ...


def test_upgrade_to_another_protocol_becomes_a_tunnel(stage: Stage) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nwelcome "
        )
        while data := await reader.read(100):
            writer.write(data.upper())

    stage.serve("raw.test", serve)
    with stage.client("raw.test", "http/1.1") as connection:
        connection.sendall(GET + b"Connection: Upgrade\r\nUpgrade: chat\r\n\r\n")
        assert b"101 Switching" in _until(connection, b"welcome ")
        connection.sendall(b"hello " + TOKEN.encode())
        assert _until(connection, b"KEY>") == b"HELLO " + TOKEN.encode().upper()


def test_upgrade_to_cleartext_http2_is_not_asked_for(stage: Stage) -> None:
    seen: list[bytes] = []
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    stage.serve("raw.test", _canned(reply, seen=seen))
    _ask(
        stage,
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    )
    assert b"Upgrade: h2c" not in seen[0]


def _until(connection: ssl.SSLSocket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        data = connection.recv(4096)
        assert data, received
        received += data
    return received


def test_protocol_other_than_http_passes_untouched(stage: Stage) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        await writer.drain()

    stage.serve("raw.test", serve, "mqtt")
    with stage.client("raw.test", "mqtt") as connection:
        connection.sendall(TOKEN.encode())
        assert connection.recv(100) == TOKEN.encode()
    assert not stage.gateway.result().secrets


def test_client_that_gives_up_ends_the_connection_to_the_server(stage: Stage) -> None:
    ended = threading.Event()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        ended.set()

    stage.serve("raw.test", wait_for_end, "http/1.1")
    stage.curl("--http1.1", "https://raw.test/", timeout_s=1)
    assert ended.wait(10)


def test_client_that_trusts_nobody_new_is_told_of(stage: Stage) -> None:
    words = ("curl", "-sS", "--connect-to", f"::127.0.0.1:{stage.ports[443]}", "https://api.test/")
    done = subprocess.run(words, capture_output=True, timeout=20, check=False)
    assert done.returncode == 60
    assert "unknown ca" in (stage.gateway.result().failure or "")


def test_certificate_is_good_for_no_other_host(stage: Stage) -> None:
    context = ssl.create_default_context(cafile=str(stage.box_ca))
    plain = socket.create_connection(("127.0.0.1", stage.ports[443]), timeout=10)
    with context.wrap_socket(plain, server_hostname="api.test") as connection:
        (names,) = (value for key, value in connection.getpeercert()["subjectAltName"] if key == "DNS")  # type: ignore[index, misc]
    assert names == "api.test"


def test_upload_of_a_gibibyte_arrives_whole_in_bounded_memory(stage: Stage, tmp_path: Path) -> None:
    size = 1024 * MIB
    source = tmp_path / "upload"
    with source.open("wb") as file:
        file.truncate(size - 4)
        file.seek(0, os.SEEK_END)
        file.write(b"end\n")
    seen: list[tuple[bytes, int, bytes]] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        received, last = 0, b""
        while received < size:
            last = await reader.read(MIB)
            received += len(last)
        seen.append((head, received, last[-4:]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    stage.serve("raw.test", count, "http/1.1")
    before = _peak_mib()
    words = ("--http1.1", "-H", f"X-Key: {TOKEN}", "-H", "Expect:", "-T", str(source))
    done = stage.curl(*words, "https://raw.test/", timeout_s=300)
    assert done.stdout == b"ok", done.stderr
    ((head, received, last),) = seen
    assert REAL in head and TOKEN.encode() not in head
    assert (received, last) == (size, b"end\n")
    assert _peak_mib() - before < 48


def test_large_answer_to_slow_reader_stays_in_bounded_memory(stage: Stage) -> None:
    size = 96 * MIB
    before = _peak_mib()
    _read_slowly(stage, "--http1.1", f"https://api.test/large?size={size}", size)
    assert _peak_mib() - before < 48


def _read_slowly(stage: Stage, version: str, url: str, size: int) -> None:
    words = ("curl", "-sSN", version, "--cacert", str(stage.box_ca), "--connect-to",
             f"::127.0.0.1:{stage.ports[443]}", url)  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        time.sleep(0.7)  # the reader's break: everything in between is full now
        received = 0
        while data := curl.stdout.read(MIB):
            received += len(data)
    assert received == size


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
