"""What still works in a box whose network is restricted, and what only such a box has."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite

ECHO = "nc -lk -p 8080 -e /bin/cat & nc -u -lk -p 5353 -e /bin/cat & exec sleep 600"


@pytest.fixture(scope="module")
def box(boxlite_of_module: Boxlite, alpine: str) -> Iterator[str]:
    """A restricted box with an echo service on 8080/tcp and 5353/udp, both published."""
    boxlite_of_module(
        "run", "-d", "--name", "shut", "--allow-net", "nothing.example", "-p", "127.0.0.1::8080", "-p", "127.0.0.1::5353/udp",
        alpine, "sh", "-c", ECHO, check=True,
    )  # fmt: skip
    yield "shut"
    boxlite_of_module("rm", "-f", "shut", check=True)


def host_port(boxlite: Boxlite, box: str, port: str) -> int:
    return int(boxlite.out("port", box, port).rpartition(":")[2])


def echo(connection: socket.socket, text: bytes) -> bytes:
    with connection:
        connection.settimeout(30)
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
    return received


def wait_for_echo(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if echo(socket.create_connection(("127.0.0.1", port), timeout=10), b"hi") == b"hi":
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("the echo service in the box does not answer")


def test_published_ports_of_a_restricted_box_are_reached(boxlite_of_module: Boxlite, box: str) -> None:
    port = host_port(boxlite_of_module, box, "8080")
    wait_for_echo(port)
    text = bytes(range(256)) * 4096
    assert echo(socket.create_connection(("127.0.0.1", port)), text) == text
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(20)
        caller.connect(("127.0.0.1", host_port(boxlite_of_module, box, "5353/udp")))
        caller.send(b"ping")
        assert caller.recv(100) == b"ping"


def test_published_port_that_is_taken_is_refused_with_the_holders_name(
    boxlite_of_module: Boxlite, box: str, alpine: str
) -> None:
    port = host_port(boxlite_of_module, box, "8080")
    done = boxlite_of_module("run", "--rm", "-p", f"127.0.0.1:{port}:80", alpine, "true")
    assert done.returncode == 125
    assert "is in use by" in done.stderr.decode() and box in done.stderr.decode()


def test_host_alias_reaches_the_loopback_of_the_host(boxlite_of_module: Boxlite, box: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"from the host\n")

        threading.Thread(target=serve, daemon=True).start()
        command = f"nc host.boxlite.internal {server.getsockname()[1]}"
        assert boxlite_of_module.out("exec", box, "sh", "-c", command) == "from the host"


@contextmanager
def tunnel(boxlite: Boxlite, *words: str) -> Iterator[str]:
    process = boxlite.popen(
        "network", "tunnel", *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_tunnel_forwards_an_address_and_a_socket_to_a_port_of_the_box(
    boxlite_of_module: Boxlite, box: str, tmp_path: Path
) -> None:
    wait_for_echo(host_port(boxlite_of_module, box, "8080"))
    text = bytes(range(256)) * 2048
    with tunnel(boxlite_of_module, box, "8080", "--listen", "127.0.0.1:0") as address:
        host, _, port = address.rpartition(":")
        assert host == "127.0.0.1"
        assert echo(socket.create_connection((host, int(port))), text) == text
        assert echo(socket.create_connection((host, int(port))), b"again") == b"again"
    path = tmp_path / "tunnel.sock"
    with tunnel(boxlite_of_module, box, "8080", "--listen", f"unix:{path}"):
        caller = socket.socket(socket.AF_UNIX)
        caller.connect(str(path))
        assert echo(caller, text) == text


def test_tunnel_to_a_port_nobody_listens_on_says_so(boxlite_of_module: Boxlite, box: str) -> None:
    process = boxlite_of_module.popen(
        "network",
        "tunnel",
        box,
        "9",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    host, _, port = process.stdout.readline().decode().strip().rpartition(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.settimeout(20)
        assert caller.recv(1) == b""
    process.terminate()
    assert "nothing in the box listens on port 9" in process.communicate(timeout=20)[1].decode()


def test_network_hosts_and_stats_count_what_a_restricted_box_exchanged(
    boxlite_of_module: Boxlite, box: str
) -> None:
    boxlite_of_module("exec", box, "sh", "-c", "nslookup evil.example; nc -w 1 192.0.2.1 9 </dev/null")
    counts = json.loads(boxlite_of_module.out("network", "hosts", "--format", "json", box))
    assert counts["denied"] >= 1 and counts["by_host"]["evil.example"]["denied"] >= 1
    (stats,) = json.loads(boxlite_of_module.out("stats", "--no-stream", "--format", "json", box))
    assert stats["NetworkBytesReceived"] == counts["bytes_received"] > 0


def test_network_log_of_an_open_box_says_why_there_is_none(boxlite_of_module: Boxlite, alpine: str) -> None:
    boxlite_of_module("create", "--name", "open", alpine, check=True)
    done = boxlite_of_module("network", "log", "open")
    assert done.returncode == 1 and "not restricted" in done.stderr.decode()
    boxlite_of_module("rm", "open", check=True)


def test_caps_hold_in_both_directions(boxlite_of_module: Boxlite, alpine: str) -> None:
    """400 kB at 1600 kbit/s take two seconds; the burst at the beginning is a tenth of one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun: list[float] = []

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(60)
                    begun.append(time.monotonic())
                    if connection.recv(1) == b"<":
                        connection.sendall(bytes(400_000))
                        connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
            begun.append(time.monotonic())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        done = boxlite_of_module(
            "run", "--rm", "--net-tx-kbps", "1600", "--net-rx-kbps", "1600", alpine, "sh", "-c",
            f"echo '<' | nc host.boxlite.internal {port} | wc -c;"
            f" (echo '>'; head -c 400000 /dev/zero) | nc host.boxlite.internal {port}",
        )  # fmt: skip
        assert done.stdout.split() == [b"400000"], done.stderr
        thread.join(60)
    down, up = begun[1] - begun[0], begun[2] - begun[1]  # the second begins when the first has all of it
    assert 1.5 < down < 12 and 1.5 < up < 12
