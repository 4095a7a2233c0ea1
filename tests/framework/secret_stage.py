"""What tests of secrets in boxes share: servers of ours on an address of this host, and the host's own programs for images."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.framework.authority import TestAuthority
from tests.framework.names import host_address, name_server
from tests.framework.web import LoopThread, serve_web
from tests.framework.web_application import SeenRequest, WebApplication

ADDRESS = "198.51.100.71"
NAMES = ("api.test", "other.test")
MODULES = Path("/usr/lib/python3.11")


def programs_layer(programs: Sequence[str]) -> bytes:
    """Programs of the host, the libraries they load, and Python's modules, where the host has them."""
    listed = subprocess.run(("ldd", *programs), capture_output=True, text=True, check=True).stdout
    libraries = {word for word in listed.split() if word.startswith("/") and not word.endswith(":")}
    libraries |= {str(path) for path in Path("/usr/lib/x86_64-linux-gnu").glob("libnss_*.so.2")}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for path in (*programs, *sorted(libraries)):
            tar.add(path, arcname=path.lstrip("/"))
        for path in sorted(MODULES.rglob("*")):
            inside = path.relative_to(MODULES)
            if path.is_file() and not {
                "test",
                "__pycache__",
                "idlelib",
                "config-3.11-x86_64-linux-gnu",
            } & set(inside.parts):
                tar.add(path, arcname=str(path).lstrip("/"))
    return buffer.getvalue()


@dataclass
class Servers:
    application: WebApplication
    ca_file: Path

    @property
    def last(self) -> SeenRequest:
        return self.application.last


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    thread = LoopThread()
    authority = TestAuthority(tmp_path_factory.mktemp("authority"))
    application = WebApplication()
    certificate = authority.issue(*NAMES)
    try:
        with host_address(ADDRESS), name_server(ADDRESS, dict.fromkeys(NAMES, ADDRESS)):
            running = [
                thread.run(serve_web(application, certificate, bind=f"{ADDRESS}:{port}"))
                for port in (443, 8443)
            ]
            yield Servers(application, authority.certificate)
            for server in running:
                thread.run(server.stop())
    finally:
        thread.stop()
