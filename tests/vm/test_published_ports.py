"""Published ports, as those who call them find them: from the host itself and from elsewhere, over both versions of IP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.framework.internet import callers
from tests.framework.internet.namespaces import HERE, HOST6, HOST_HOME, Internet
from tests.framework.internet.probing import internet
from tests.framework.waiting import eventually

__all__ = ["internet"]

TCP, COUNT, UDP = "8200", "8201", "8202"
OF_HOST = ("127.0.0.1", "::1", HOST_HOME, HOST6)
FROM_ELSEWHERE = (HOST_HOME, HOST6)


@pytest.fixture(scope="module", params=["open", "restricted"])
def served(internet: Internet, request: pytest.FixtureRequest) -> Iterator[Internet]:
    """With a box whose server is published on every address."""
    flags = ["--allow-net", "nothing.example"] if request.param == "restricted" else []
    for place in ("", "[::]:"):
        flags += ["-p", f"{place}{TCP}:2000", "-p", f"{place}{COUNT}:2001", "-p", f"{place}{UDP}:2002/udp"]
    server = (HERE / "server.py").read_text()
    internet.boxlite(
        "run", "-d", "--name", request.param, *flags, "probe", "python3", "-SBsc", server, check=True
    )
    eventually(lambda: internet.boxlite.out("logs", request.param) == "ready", within_s=20)
    yield internet
    internet.boxlite("rm", "-f", request.param, check=True)


def call(namespace: str, hosts: tuple[str, ...]) -> dict[str, object]:
    argv = ("nsenter", f"--net=/run/netns/{namespace}", sys.executable, callers.__file__)
    done = subprocess.run((*argv, TCP, COUNT, UDP, *hosts), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def expected(hosts: tuple[str, ...]) -> dict[str, object]:
    return {host: ["220", str(callers.BYTES), "HELLO"] for host in hosts} | {"at once": callers.AT_ONCE}


def test_published_ports_serve_the_host_itself(served: Internet) -> None:
    """A server that greets, one that answers after its client's end, datagrams, and many callers at once."""
    assert call(served.home_namespace, OF_HOST) == expected(OF_HOST)


def test_published_ports_serve_callers_from_elsewhere(served: Internet) -> None:
    assert call(served.world_namespace, FROM_ELSEWHERE) == expected(FROM_ELSEWHERE)
