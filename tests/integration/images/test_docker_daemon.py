"""Images between us and a real Docker, both ways."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.process import find_program
from tests.framework.cli import Boxlite
from tests.framework.image_builder import BuiltImage, build_image, file, folder, symlink, whiteout
from tests.framework.waiting import eventually
from tests.integration.images.test_commands import docker_archive

IMAGE = build_image(
    [
        [folder("etc"), file("etc/kept", b"k" * 50_000), file("etc/gone", b"g")],
        [whiteout("etc/gone"), file("owned", b"o", uid=1000, gid=1001, mode=0o4751), symlink("link", "etc/kept")],
    ],
    config={"Cmd": ["/one"], "Env": ["A=b"], "User": "1000", "WorkingDir": "/w", "Labels": {"stage": "test"}},
)  # fmt: skip
DAEMON = "dockerd"
START_TIMEOUT_S = 30.0


class Docker:
    """A daemon of the test's own, which starts no containers and touches no network, and its command line."""

    def __init__(self, socket: Path) -> None:
        self.host = f"unix://{socket}"

    def __call__(self, *words: str, stdin: bytes | None = None) -> str:
        done = subprocess.run(
            ("docker", *words), env={**os.environ, "DOCKER_HOST": self.host}, input=stdin, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def answers(self) -> bool:
        version = ("docker", "--host", self.host, "version")
        return subprocess.run(version, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    if os.geteuid() != 0 or find_program(DAEMON) is None or find_program("docker") is None:
        pytest.skip("needs root, and the packages docker.io or docker-ce")
    place = tmp_path_factory.mktemp("docker")
    docker = Docker(place / "docker.sock")
    command = (
        DAEMON, "--data-root", str(place / "data"), "--exec-root", str(place / "run"), "--host", docker.host,
        "--pidfile", str(place / "pid"), "--bridge", "none", "--iptables=false", "--storage-driver", "vfs",
    )  # fmt: skip
    with (place / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
        try:
            eventually(lambda: docker.answers() or daemon.poll() is not None, within_s=START_TIMEOUT_S)
            if daemon.poll() is not None:
                pytest.skip("dockerd does not start here: " + (place / "log").read_text()[-300:])
            docker("load", stdin=docker_archive(IMAGE, "one:1"))
            yield docker
        finally:
            daemon.terminate()


@pytest.fixture
def boxlite(tmp_path: Path, docker: Docker) -> Boxlite:
    (tmp_path / "user").mkdir()
    return Boxlite(tmp_path / "home", {"HOME": str(tmp_path / "user"), "DOCKER_HOST": docker.host})


def layers(image: BuiltImage) -> list[str]:
    """Digests of the uncompressed layers."""
    config = json.loads(image.document)["config"]["digest"]
    found: list[str] = json.loads(image.blobs[config])["rootfs"]["diff_ids"]
    return found


@pytest.mark.parametrize("command", ["pull", "load"])
def test_image_of_a_docker_daemon_is_the_one_it_has(boxlite: Boxlite, docker: Docker, command: str) -> None:
    assert "docker.io/library/one:1" in boxlite.out(command, "docker-daemon:one:1")
    (ours,) = json.loads(boxlite.out("inspect", "one:1"))
    (theirs,) = json.loads(docker("image", "inspect", "one:1"))
    assert ours["RootFS"]["Layers"] == theirs["RootFS"]["Layers"] == layers(IMAGE)
    for name in ("Cmd", "Env", "User", "WorkingDir", "Labels"):
        assert ours["Config"][name] == theirs["Config"][name]
    assert ours["Id"] == theirs["Id"]


def test_image_of_a_docker_daemon_is_found_by_its_id(boxlite: Boxlite, docker: Docker) -> None:
    number = docker("images", "-q", "one:1")
    assert boxlite.out("pull", "-q", f"docker-daemon:{number}").startswith("sha256:")


def test_image_that_docker_does_not_have_is_named(boxlite: Boxlite) -> None:
    done = boxlite("pull", "docker-daemon:nope:1")
    assert done.returncode == 1 and b"docker has no image nope:1" in done.stderr


def test_docker_that_does_not_run_says_so(boxlite: Boxlite, tmp_path: Path) -> None:
    done = boxlite("pull", "docker-daemon:one:1", DOCKER_HOST=f"unix://{tmp_path}/nobody.sock")
    assert done.returncode == 1 and b"Cannot connect to the Docker daemon" in done.stderr


@pytest.mark.parametrize("words", [(), ("--compress", "gzip")])
def test_docker_loads_what_we_save(
    boxlite: Boxlite, docker: Docker, tmp_path: Path, words: tuple[str, ...]
) -> None:
    boxlite("pull", "docker-daemon:one:1", check=True)
    name = f"back:{len(words)}"
    boxlite("image", "tag", "one:1", name, check=True)
    boxlite("save", *words, "-o", str(tmp_path / "archive"), name, check=True)
    assert docker("load", "-i", str(tmp_path / "archive")) == f"Loaded image: {name}"
    (theirs,) = json.loads(docker("image", "inspect", name))
    assert theirs["RootFS"]["Layers"] == layers(IMAGE) and theirs["Config"]["User"] == "1000"
