"""Fixtures of tests that start machines: the command, an image, a home that is empty again afterwards."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.process import find_program
from tests.framework.cli import Boxlite, keep_evidence, make_home
from tests.framework.image_builder import build_image
from tests.framework.registry import RunningRegistry

ALPINE_ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
EVIDENCE = Path("test-evidence")


@pytest.fixture(scope="session")
def alpine(registry: RunningRegistry, alpine_rootfs: Path) -> str:
    """A reference of Alpine 3.20 in the tests' registry."""
    config = {"Cmd": ["/bin/sh"], "Env": ALPINE_ENV}
    return registry.push(
        "alpine", "3.20", build_image([gzip.decompress(alpine_rootfs.read_bytes())], config=config)
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the tests of one file."""
    if find_program("qemu-system-x86_64") is None and find_program("qemu-system-aarch64") is None:
        pytest.skip("QEMU is not installed: no machine can be started")
    return make_home(tmp_path_factory.mktemp("vm") / "home")


@pytest.fixture(scope="module")
def boxlite_of_module(home: Path, alpine: str) -> Iterator[Boxlite]:
    boxlite = Boxlite(home)
    boxlite("pull", "-q", alpine, check=True)
    yield boxlite
    boxlite.remove_all()


@pytest.fixture
def boxlite(boxlite_of_module: Boxlite, request: pytest.FixtureRequest) -> Iterator[Boxlite]:
    """The command on the file's home, with Alpine pulled. Boxes a test leaves are removed; of one that fails the logs
    are kept in `test-evidence/`."""
    failed_before = request.session.testsfailed
    yield boxlite_of_module
    if request.session.testsfailed > failed_before:
        keep_evidence(boxlite_of_module.home, EVIDENCE / request.node.name)
    boxlite_of_module.remove_all()
