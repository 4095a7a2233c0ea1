"""How connections are made, and what is said when they are not."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine.images.http import HttpClient, HttpError


class _Ipv6Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class _Silent(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def new_client() -> HttpClient:
    return HttpClient(
        headers={},
        variables={},
        new_context=ssl.create_default_context,
        connect_timeout_s=0.3,
        read_timeout_s=1.0,
    )


@pytest.fixture(params=[(ThreadingHTTPServer, "127.0.0.1"), (_Ipv6Server, "::1")], ids=["ipv4", "ipv6"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    kind, host = request.param
    try:
        server = kind((host, 0), _Silent)
    except OSError:
        pytest.skip(f"this host has no {host}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"[{host}]:{server.server_port}" if ":" in host else f"{host}:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_request_to_an_address_is_answered(address: str) -> None:
    client = new_client()
    with client.request("GET", f"http://{address}/") as response:
        assert response.status == 204
    client.close()


def test_request_to_an_ascii_name_loads_no_tables_of_idna() -> None:
    program = (
        "import sys\n"
        "from tests.integration.images.test_http import new_client, HttpError\n"
        "try:\n    new_client().request('GET', 'http://127.0.0.1:1/')\n"
        "except HttpError as error:\n    print(error, 'encodings.idna' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip().endswith("Connection refused False"), done.stderr


@pytest.mark.parametrize("name", ["registry.invalid", "regístry.invalid"])
def test_request_to_a_name_nobody_has_says_so(name: str) -> None:
    with pytest.raises(HttpError, match=r"\[Errno -\d+\]"):
        new_client().request("GET", f"http://{name}/")


def test_request_to_a_server_that_accepts_nobody_times_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = [socket.socket() for _ in range(3)]
        for one in held:  # fill what the kernel accepts on its own
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(HttpError, match="timed out"):
            new_client().request("GET", f"http://127.0.0.1:{full.getsockname()[1]}/")
        for one in held:
            one.close()
