"""What is particular to HTTP/2: gRPC, streams beside one another, windows, and connections that are going away."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from tests.framework.web import Handler, Stage
from tests.integration.net.test_interception_http1 import MIB, _peak_mib, _read_slowly

TOKEN = "<BOXLITE_SECRET:GRPC>"


class _Service(grpc.GenericRpcHandler):
    """Methods of every kind over plain bytes. `metadata` is what the last call brought."""

    def __init__(self) -> None:
        self.metadata: dict[str, str | bytes] = {}
        self.cancelled = False

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        self.metadata = dict(details.invocation_metadata)
        match details.method.rpartition("/")[2]:
            case "Unary":
                return grpc.unary_unary_rpc_method_handler(self._unary)
            case "Count":
                return grpc.unary_stream_rpc_method_handler(self._count)
            case "Sum":
                return grpc.stream_unary_rpc_method_handler(self._sum)
            case "Talk":
                return grpc.stream_stream_rpc_method_handler(self._talk)
            case "Fail":
                return grpc.unary_unary_rpc_method_handler(self._fail)
            case "Hang":
                return grpc.unary_unary_rpc_method_handler(self._hang)
        return None

    def _unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("x-seen", str(self.metadata.get("x-key", ""))),))
        context.set_trailing_metadata((("x-trailing", str(self.metadata.get("x-key", ""))),))
        return request[::-1]

    def _count(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    def _sum(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"%d" % sum(len(request) for request in requests)

    def _talk(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()

    def _fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return b""

    def _hang(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        ended = futures.Future[None]()
        context.add_callback(lambda: ended.set_result(None))
        ended.result(20)
        self.cancelled = True
        return b""


@pytest.fixture(scope="module")
def service(whole_stage: Stage) -> Iterator[_Service]:
    """A gRPC server that is grpc.test."""
    service = _Service()
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(service,))
    pem = whole_stage.authority.issue("grpc.test").read_bytes()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)]))
    server.start()
    whole_stage.gateway.servers["grpc.test"] = port
    yield service
    server.stop(0).wait()


@pytest.fixture
def channel(stage: Stage, service: _Service) -> Iterator[grpc.Channel]:
    with grpc.secure_channel(
        f"127.0.0.1:{stage.ports[443]}",
        grpc.ssl_channel_credentials(stage.box_ca.read_bytes()),
        options=[("grpc.ssl_target_name_override", "grpc.test"), ("grpc.enable_http_proxy", 0)],
    ) as channel:
        yield channel


def test_grpc_call_carries_value_and_its_metadata_is_scrubbed(
    channel: grpc.Channel, service: _Service
) -> None:
    reply, call = channel.unary_unary("/t/Unary").with_call(
        b"abc" + TOKEN.encode(), metadata=(("x-key", f"Bearer {TOKEN}"),), timeout=20
    )
    assert reply == (b"abc" + TOKEN.encode())[::-1]
    assert service.metadata["x-key"] == "Bearer ascii-value-1"
    assert dict(call.initial_metadata())["x-seen"] == f"Bearer {TOKEN}"
    assert dict(call.trailing_metadata())["x-trailing"] == f"Bearer {TOKEN}"


def test_grpc_server_stream_arrives_whole(channel: grpc.Channel) -> None:
    replies = channel.unary_stream("/t/Count")(b"500", timeout=20)
    assert [int(reply) for reply in replies] == list(range(500))


def test_grpc_client_stream_arrives_whole(channel: grpc.Channel) -> None:
    assert channel.stream_unary("/t/Sum")((bytes(100_000) for _ in range(50)), timeout=20) == b"5000000"


def test_grpc_conversation_goes_back_and_forth(channel: grpc.Channel) -> None:
    questions: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    replies = channel.stream_stream("/t/Talk")(iter(questions.get, None), timeout=20)
    for number in range(20):
        questions.put(b"word %d" % number)
        assert next(replies) == b"WORD %d" % number
    questions.put(None)
    assert list(replies) == []


def test_grpc_error_arrives_as_such(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t/Fail")(b"", timeout=20)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")  # type: ignore[attr-defined]


def test_grpc_method_that_does_not_exist_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t/Nothing")(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_grpc_call_that_is_given_up_ends_at_the_server(channel: grpc.Channel, service: _Service) -> None:
    service.cancelled = False
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t/Hang")(b"", timeout=0.7)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while not service.cancelled and time.monotonic() < deadline:
        time.sleep(0.02)
    assert service.cancelled
    assert channel.unary_unary("/t/Unary")(b"ab", timeout=20) == b"ba"


def test_grpc_calls_beside_one_another_keep_apart(channel: grpc.Channel) -> None:
    calls = [channel.unary_unary("/t/Unary").future(b"call %d" % number, timeout=20) for number in range(60)]
    assert [call.result()[::-1] for call in calls] == [b"call %d" % number for number in range(60)]


# ---------------------------------------------------------------- servers with habits


def _http2_server(
    *, size: int = 5, goaway_after: int = 0, max_streams: int = 100, stop_after: int | None = None
) -> Handler:
    """A server that answers each stream with `size` bytes, within the windows it is given. After `goaway_after` streams it
    says that it goes away, before it answers the last; with `stop_after` it ends after that many bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.local_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = max_streams
        http.local_settings.acknowledge()
        http.initiate_connection()
        left: dict[int, int] = {}
        seen = 0
        while True:
            for stream in tuple(left):
                while left[stream] > 0 and (room := http.local_flow_control_window(stream)) > 0:
                    part = min(left[stream], room, http.max_outbound_frame_size)
                    http.send_data(stream, bytes(part))
                    left[stream] -= part
                    if stop_after is not None and size - left[stream] >= stop_after:
                        writer.write(http.data_to_send())
                        return
                if not left[stream]:
                    http.end_stream(stream)
                    del left[stream]
            writer.write(http.data_to_send())
            await writer.drain()
            if goaway_after and seen >= goaway_after and not left:
                return
            if not (data := await reader.read(65536)):
                return
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    seen += 1
                    if seen == goaway_after:
                        writer.write(http.data_to_send())
                        writer.write(
                            b"\0\0\x08\x07\0\0\0\0\0" + event.stream_id.to_bytes(4, "big") + bytes(4)
                        )
                    http.send_headers(event.stream_id, [(":status", "200"), ("content-length", str(size))])
                    left[event.stream_id] = size

    return serve


def test_server_that_goes_away_still_answers_what_it_was_asked(stage: Stage) -> None:
    stage.serve("raw.test", _http2_server(size=300_000, goaway_after=3), "h2")
    done = stage.curl("--http2", "-Z", "--parallel-max", "8", "-w", "%{http_code} %{size_download}\n", "-o", "/dev/null",
                      "https://raw.test/[1-6]")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [b"200 300000"] * 6


def test_server_that_serves_few_streams_at_a_time_is_not_asked_for_more(stage: Stage) -> None:
    stage.serve("raw.test", _http2_server(size=1000, max_streams=2), "h2")
    done = stage.curl("--http2", "-Z", "--parallel-max", "20", "-w", "%{http_code}\n", "-o", "/dev/null",
                      "https://raw.test/[1-20]")  # fmt: skip
    assert done.stdout.split() == [b"200"] * 20, done.stderr


def test_answer_over_http2_cut_short_is_not_taken_for_a_whole_one(stage: Stage) -> None:
    stage.serve("raw.test", _http2_server(size=500_000, stop_after=100_000), "h2")
    done = stage.curl("--http2", "https://raw.test/")
    assert done.returncode != 0


def test_large_answer_over_http2_to_slow_reader_stays_in_bounded_memory(stage: Stage) -> None:
    size = 64 * MIB
    stage.serve("raw.test", _http2_server(size=size), "h2")
    before = _peak_mib()
    _read_slowly(stage, "--http2", "https://raw.test/", size)
    assert _peak_mib() - before < 48


def test_client_that_asks_for_other_host_on_the_connection_is_refused_that_stream_only(stage: Stage) -> None:
    with stage.client("api.test", "h2") as connection:
        http = h2.connection.H2Connection()
        http.initiate_connection()
        for stream, host in ((1, "other.test"), (3, "api.test")):
            fields = [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), (":authority", host)]
            http.send_headers(stream, fields, end_stream=True)
        connection.sendall(http.data_to_send())
        statuses: dict[int, str] = {}
        while len(statuses) < 2:
            for event in http.receive_data(connection.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses[event.stream_id] = dict(event.headers)[b":status"].decode()
    assert statuses == {1: "421", 3: "200"}


def test_bytes_that_are_no_http2_end_the_connection(stage: Stage) -> None:
    with stage.client("api.test", "h2") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n" * 3)
        while connection.recv(65536):
            pass
    assert "HTTP/2" in (stage.gateway.result().failure or "")


def test_server_that_speaks_only_http1_is_spoken_to_in_http1(stage: Stage) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    for protocols in ((), ("http/1.1",)):
        stage.serve("raw.test", serve, *protocols)
        done = stage.curl("--http2", "-i", "https://raw.test/")
        assert done.stdout.startswith(b"HTTP/1.1 200 OK"), done.stderr
        assert stage.gateway.result().protocol == "http/1.1"
