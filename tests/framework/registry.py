"""Debian's docker-registry on loopback, for tests that pull from a real one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.framework.image_builder import BuiltImage

START_TIMEOUT_S = 15.0


@dataclass
class RunningRegistry:
    """A registry process; `host` is `127.0.0.1:PORT`."""

    host: str
    process: subprocess.Popen[bytes]
    log_path: Path
    scheme: str = "http"
    verify: str | bool = True
    auth: tuple[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def push(self, repository: str, tag: str, image: BuiltImage) -> str:
        """Push an image with all its parts and return its reference."""
        for digest, blob in image.blobs.items():
            self.push_blob(repository, digest, blob)
        for digest, (document, media_type) in image.documents.items():
            self._put_manifest(repository, digest, document, media_type)
        self._put_manifest(repository, tag, image.document, image.media_type)
        return f"{self.host}/{repository}:{tag}"

    def push_blob(self, repository: str, digest: str, blob: bytes) -> None:
        base = f"{self.scheme}://{self.host}/v2/{repository}/blobs"
        started = self._request("POST", f"{base}/uploads/")
        where = started.headers["Location"]
        joint = "&" if "?" in where else "?"
        self._request("PUT", f"{where}{joint}digest={digest}", data=blob)

    def _put_manifest(self, repository: str, tag: str, document: bytes, media_type: str) -> None:
        url = f"{self.scheme}://{self.host}/v2/{repository}/manifests/{tag}"
        self._request("PUT", url, data=document, headers={"Content-Type": media_type})

    def _request(self, method: str, url: str, **rest: Any) -> requests.Response:
        headers = self.headers | rest.pop("headers", {})
        response = requests.request(
            method, url, auth=self.auth, verify=self.verify, headers=headers, timeout=30, **rest
        )
        response.raise_for_status()
        return response

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


StartRegistry = Callable[..., RunningRegistry]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start_registry(directory: Path, **changes: Any) -> RunningRegistry:
    """Start a registry that keeps its data in `directory`; `changes` are further sections of its configuration."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (Debian: docker-registry)")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    host = f"127.0.0.1:{port}"
    http = {"addr": host, "secret": "for tests", **changes.pop("http", {})}
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": http,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        **changes,
    }
    config_path, log_path = directory / "config.yml", directory / "registry.log"
    config_path.write_text(yaml.safe_dump(config))
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            (program, "serve", str(config_path)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": os.defpath},
        )
    registry = RunningRegistry(
        host=host, process=process, log_path=log_path, scheme="https" if "tls" in http else "http"
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return registry
        time.sleep(0.02)
    registry.stop()
    raise AssertionError(f"docker-registry did not start:\n{log_path.read_text()}")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """One plain registry for the whole session: push to a repository of the test's own."""
    running = start_registry(tmp_path_factory.mktemp("registry"))
    yield running
    running.stop()


@pytest.fixture
def registry_factory(tmp_path: Path) -> Iterator[StartRegistry]:
    """Start registries with a configuration of the test's own."""
    started: list[RunningRegistry] = []

    def start(**changes: Any) -> RunningRegistry:
        started.append(start_registry(tmp_path / f"registry-{len(started)}", **changes))
        return started[-1]

    yield start
    for running in started:
        running.stop()
