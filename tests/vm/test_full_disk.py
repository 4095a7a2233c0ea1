"""A home on a file system that gets full: what fails says why, nothing is damaged, and all works when there is space."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.process import find_program
from tests.framework.cli import Boxlite, make_home
from tests.framework.invariants import Invariants

SIZE_MIB = 96
NO_SPACE = "No space left on device"
IDLE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")


class SmallDisk:
    """A file system of SIZE_MIB that is filled and emptied with one file."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self._ballast = root / "ballast"

    def fill(self, *, leave_kib: int = 0) -> None:
        space = os.statvfs(self._ballast.parent)
        size = space.f_bavail * space.f_frsize - leave_kib * 1024
        if size > 0:
            with self._ballast.open("ab") as file:
                os.posix_fallocate(file.fileno(), self._ballast.stat().st_size, size)

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path, boxlite: Boxlite, alpine: str) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    boxlite(
        "run", "--rm", alpine, "true", check=True
    )  # guest image and template are made elsewhere, and shared
    root = tmp_path / "small"
    root.mkdir()
    mount = find_program("mount")
    if mount is None or subprocess.run(
        (mount, "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "boxlite-test", str(root)), capture_output=True
    ).returncode:  # fmt: skip
        pytest.skip("no file system can be mounted here")
    try:
        small = SmallDisk(root)
        make_home(small.home)
        yield small
    finally:
        subprocess.run(("umount", "--lazy", str(root)), check=True)


@pytest.fixture
def small(disk: SmallDisk) -> Iterator[Boxlite]:
    boxlite = Boxlite(disk.home)
    yield boxlite
    disk.empty()
    boxlite.remove_all()


@contextlib.contextmanager
def beginning(boxlite: Boxlite, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs beside the test and not beyond it."""
    with boxlite.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def test_pull_create_and_run_on_a_full_disk_say_so_and_leave_nothing(
    small: Boxlite, disk: SmallDisk, alpine: str
) -> None:
    for words, status in ((["pull", alpine], 1), (["run", "--rm", alpine, "true"], 125)):
        disk.fill(leave_kib=1024)
        done = small(*words)
        assert (done.returncode, NO_SPACE in done.stderr.decode()) == (status, True), done.stderr
        assert "free disk space" in done.stderr.decode()
        disk.empty()
        assert Invariants(small).broken() == []
    assert small.out("run", "--rm", alpine, "echo", "well") == "well"
    assert Invariants(small).broken() == []  # whatever still frees space is done
    disk.fill()
    small("ls")  # gives up the reserve of the databases, which would be enough for one box
    for words in (["create", alpine, "true"], ["run", "--rm", alpine, "true"], ["run", "-d", alpine, *IDLE]):
        disk.fill()
        done = small(*words)
        assert done.returncode == 125, (words, done.stderr)
        assert NO_SPACE in done.stderr.decode(), (words, done.stderr)
    disk.empty()
    assert small.out("ls", "-aq") == ""
    assert Invariants(small).broken() == []
    assert small.out("run", "--rm", alpine, "echo", "well") == "well"


def test_box_that_fills_the_disk_waits_for_space_and_goes_on(
    small: Boxlite, disk: SmallDisk, alpine: str
) -> None:
    small("run", "-d", "--name", "writer", alpine, *IDLE, check=True)
    small("exec", "writer", "sh", "-c", "echo kept > /root/kept; sync", check=True)
    disk.fill(leave_kib=4096)
    script = "head -c 16777216 /dev/urandom > /root/big; sync; sha256sum < /root/big"
    with beginning(small, "exec", "writer", "sh", "-c", script) as writing:
        assert within(120, lambda: state(small) == "paused"), writing.poll()
        assert "disk is full" in small.out("inspect", "-f", "{{.State.Reason}}", "writer")
        refused = small("exec", "writer", "true")
        assert refused.returncode == 125
        assert "disk is full" in refused.stderr.decode()
        assert writing.poll() is None
        disk.empty()
        stdout, stderr = writing.communicate(timeout=120)
        assert writing.returncode == 0, stderr
    assert state(small) == "running"
    assert small("exec", "writer", "sha256sum", "/root/big").stdout.split()[0] == stdout.split()[0]
    small("stop", "writer", check=True)
    assert Invariants(small).broken() == []
    small("start", "writer", check=True)
    assert small.out("exec", "writer", "cat", "/root/kept") == "kept"


def test_boxes_can_be_listed_stopped_and_removed_on_a_full_disk(
    small: Boxlite, disk: SmallDisk, alpine: str
) -> None:
    small("run", "-d", "--name", "one", alpine, *IDLE, check=True)
    small("run", "-d", "--name", "two", alpine, *IDLE, check=True)
    disk.fill()
    assert set(small.out("ls", "--format", "{{.Names}}").split()) == {"one", "two"}
    small("stop", "one", check=True)
    small("rm", "one", check=True)
    small("rm", "-f", "two", check=True)
    assert small.out("ls", "-aq") == ""
    disk.empty()
    assert Invariants(small).broken() == []


def state(boxlite: Boxlite) -> str:
    return boxlite.out("inspect", "-f", "{{.State.Status}}", "writer")


def within(seconds: float, what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.2)
    return False
