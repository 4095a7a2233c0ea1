"""A box in the small internet that runs the probe: what root in it can reach, compared with what it should."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.framework.cli import make_home
from tests.framework.internet.namespaces import Internet, python_tree, small_internet

Case = dict[str, object]
Row = tuple[Case, str]
"""What is tried, and the outcome it must have (see probe.py)."""


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory, alpine_rootfs: Path) -> Iterator[Internet]:
    """The small internet, and in its home an image `probe` that has the probe."""
    directory = tmp_path_factory.mktemp("internet")
    root = directory / "root"
    with tarfile.open(alpine_rootfs) as archive:
        archive.extractall(root, filter="fully_trusted")
    python_tree(root)
    packed = directory / "probe.tar"
    subprocess.run(("tar", "-C", str(root), "-cf", str(packed), "."), check=True)
    with small_internet(make_home(directory / "home"), directory) as internet:
        internet.boxlite("import", str(packed), "probe", check=True)
        yield internet
        internet.boxlite.remove_all()


def wrong_outcomes(internet: Internet, name: str, flags: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Try everything in a box with these flags, which stays behind, stopped; a line for each outcome that is another."""
    done = internet.boxlite(
        "run", "-i", "--name", name, *flags, "probe", "python3", "-SBs", "/probe.py",
        stdin=json.dumps([case for case, _ in rows]).encode(), timeout_s=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    outcomes = json.loads(done.stdout)
    return [
        f"{case}: {outcome!r} instead of {wanted!r}"
        for (case, wanted), outcome in zip(rows, outcomes, strict=True)
        if outcome != wanted
    ]


def reached(address: str, port: int) -> str:
    return f"REACHED {address} {port}"


def tcp(address: str, port: int, say: str = "", name: str = "", **rest: object) -> Case:
    return {"op": "tcp", "address": address, "port": port, "say": say, "name": name, **rest}


def dns(name: str, **rest: object) -> Case:
    return {"op": "dns", "name": name, **rest}


def udp(address: str, port: int, **rest: object) -> Case:
    return {"op": "udp", "address": address, "port": port, **rest}


def ping(address: str) -> Case:
    return {"op": "ping", "address": address}
