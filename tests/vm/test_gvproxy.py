"""A host without passt: its boxes have their network from gvproxy."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from engine.process import find_program
from tests.framework.cli import Boxlite
from tests.framework.internet.namespaces import NamespacedBoxlite
from tests.framework.waiting import eventually

SIZE = 4 << 20
ECHO = "nc -lk -p 80 -e echo hello & nc -u -lk -p 81 -e cat & exec sleep 600"
EXPOSE = 'wget -qO- --post-data \'{"local":"%s","remote":"192.168.127.2:80","protocol":"%s"}\' http://192.168.127.1/services/forwarder/expose'


def without(boxlite: Boxlite, *names: str) -> Boxlite:
    """The command on a host where these programs cannot be run."""
    if os.geteuid() != 0:
        pytest.skip("hiding a program needs root")
    hidden = [path for name in names if (path := find_program(name)) is not None]
    mounts = "".join(f"mount --bind /dev/null {path} && " for path in hidden)
    return NamespacedBoxlite(
        boxlite.home, prefix=("unshare", "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh")
    )


@pytest.fixture(scope="module")
def box(boxlite_of_module: Boxlite, alpine: str) -> Iterator[str]:
    if find_program("gvproxy") is None:
        pytest.skip("gvproxy is not installed")
    without(boxlite_of_module, "passt")(
        "run", "-d", "--name", "gv", "-p", "127.0.0.1::80", "-p", "127.0.0.1::81/udp", "-p", "[::1]::80", alpine,
        "sh", "-c", ECHO, check=True,
    )  # fmt: skip
    yield "gv"
    boxlite_of_module("rm", "-f", "gv", check=True)


def test_published_ports_are_reached(boxlite_of_module: Boxlite, box: str) -> None:
    shown = boxlite_of_module.out("port", box).splitlines()
    ports = {line.split(" -> ")[0] + line.split(" -> ")[1][0]: int(line.rpartition(":")[2]) for line in shown}

    def answered(address: str, port: int) -> bool:
        with socket.create_connection((address, port), timeout=10) as caller:
            caller.sendall(b"x")
            return caller.recv(9) == b"hello\n"

    eventually(lambda: answered("127.0.0.1", ports["80/tcp1"]), within_s=20)
    assert answered("::1", ports["80/tcp["])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(20)
        caller.connect(("127.0.0.1", ports["81/udp1"]))
        caller.send(b"ping")
        assert caller.recv(9) == b"ping"


def test_host_alias_and_refusals_are_as_with_passt(boxlite_of_module: Boxlite, box: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(SIZE))

        threading.Thread(target=serve, daemon=True).start()
        command = f"wget -qO- http://host.boxlite.internal:{server.getsockname()[1]}/ | wc -c"
        assert boxlite_of_module.out("exec", box, "sh", "-c", command) == str(SIZE)
    refused = boxlite_of_module("exec", box, "nc", "-w", "20", "192.168.127.254", "9", timeout_s=15)
    assert refused.returncode == 1


def test_box_cannot_open_ports_of_the_host_by_itself(boxlite_of_module: Boxlite, box: str) -> None:
    for local, protocol in (("127.0.0.1:48999", "tcp"), ("/net/other.sock", "unix"), ("/etc/x", "unix")):
        command = (EXPOSE % (local, protocol)).replace("192.168.127.2:80", "tcp://192.168.127.2:80") if protocol == "unix" else EXPOSE % (local, protocol)  # fmt: skip
        boxlite_of_module("exec", box, "sh", "-c", command)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 48999), timeout=5)


def test_host_with_neither_says_which_package_to_install(boxlite_of_module: Boxlite, alpine: str) -> None:
    bare = without(boxlite_of_module, "passt", "gvproxy")
    done = bare("run", "--rm", alpine, "true")
    assert done.returncode == 125
    assert b"passt" in done.stderr and b"--network disabled" in done.stderr
    assert bare.out("run", "--rm", "--network", "disabled", alpine, "echo", "fine") == "fine"
    assert bare.out("run", "--rm", "--allow-net", "nothing.example", alpine, "echo", "fine") == "fine"
