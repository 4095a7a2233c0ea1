"""An attacker in QEMU's place, inside QEMU's own jail, as root's box and as an ordinary user's.

The promises of engine/jailer/THREAT_MODEL.md on the machine's process name the tests of this file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import pytest

from engine.process import find_program
from engine.vmm.confinement import DISK_MARGIN, LARGEST_USUAL_DISK_BYTES, SPARE_MEMORY_BYTES
from tests.framework.attack_stage import MEMORY_MIB, SECRET

ROOT = Path(__file__).parents[2]
ORDINARY_UID = 54321
LEAST_ATTEMPTS = 60
FIRST_OF_BOXES = 1879048192

pytestmark = pytest.mark.skipif(
    not (find_program("bwrap") and find_program("qemu-system-x86_64")),
    reason="needs bubblewrap and QEMU on x86-64",
)
Lines = dict[str, tuple[Any, str | None]]


def interpreter_of_anybody() -> str | None:
    """A Python that an ordinary user may start."""
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        try:
            done = subprocess.run(
                (path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"),
                user=ORDINARY_UID,
                check=False,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


def attack(directory: Path, python: str, place: str, **who: Any) -> Lines:
    path = f"{ROOT}:{sysconfig.get_path('purelib')}"
    done = subprocess.run(
        (python, "-B", "-m", "tests.framework.attack_stage", str(directory), place),
        env={"PYTHONPATH": path, "PATH": os.defpath, "HOME": os.path.expanduser("~"), "SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **who,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines and lines[-1][0] == "the end", done.stdout[-500:] + done.stderr[-2000:]
    assert SECRET not in done.stdout
    return {name: (got, refusal) for name, got, refusal in lines}


def staged(place: str, user: str) -> Lines:
    """What an attacker says that stands in a place, in the box of a user."""
    is_root = os.geteuid() == 0
    if user == "root" and not is_root:
        pytest.skip("only root can try what root's boxes can")
    python: str | None = os.path.realpath(sys.executable)
    who = {}
    if user == "ordinary" and is_root:
        who = {"user": ORDINARY_UID, "group": ORDINARY_UID, "extra_groups": []}
        python = interpreter_of_anybody()
    if python is None:
        pytest.skip("there is no Python that an ordinary user may start")
    directory = Path(tempfile.mkdtemp(prefix="boxlite-attack-"))
    try:
        if who:
            os.chown(directory, ORDINARY_UID, ORDINARY_UID)
        return attack(directory, python, place, **who)
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module", params=["root", "ordinary"])
def lines(request: pytest.FixtureRequest) -> Lines:
    """What the attacker in QEMU's place says."""
    return staged("machine", request.param)


@pytest.mark.parametrize("user", ["root", "ordinary"])
@pytest.mark.parametrize("place", ["passt", "gateway"])
def test_attacker_in_any_place_changes_nothing_that_boxes_share(place: str, user: str) -> None:
    lines = staged(place, user)
    attempts = {name: result for name, result in lines.items() if name != "the end"}
    assert len(attempts) >= LEAST_ATTEMPTS
    assert {name: got for name, (got, refusal) in attempts.items() if refusal is None} == {}


def test_attacker_in_qemu_s_place_is_refused_everything(lines: Lines) -> None:
    attempts = {name: result for name, result in lines.items() if not name.startswith(("how_", "the end"))}
    assert len(attempts) >= LEAST_ATTEMPTS
    assert {name: got for name, (got, refusal) in attempts.items() if refusal is None} == {}


def test_attacker_can_neither_fork_nor_exec_nor_make_a_namespace(lines: Lines) -> None:
    for name in (
        "fork",
        "clone a process",
        "exec a shell",
        "exec from where the gate's path was",
        "a new user namespace",
    ):
        assert lines[name][1], name


def test_attacker_finds_no_file_of_others_no_descriptor_and_no_variable(lines: Lines) -> None:
    for name in (
        "read other_disk",
        "read credentials",
        "read /etc/shadow",
        "write base",
        "write template_memory",
    ):
        assert lines[name][1], name
    for name in ("find_descriptors_that_were_not_handed_over", "find_variables_of_our_environment"):
        assert "nothing" in str(lines[name][1])


def test_attacker_reaches_no_network_no_socket_and_no_other_process(lines: Lines) -> None:
    for name in (
        "a TCP socket",
        "connect to an abstract socket",
        "kill everybody",
        "trace another",
        "request_key",
    ):
        assert lines[name][1], name


def test_attacker_fills_neither_memory_nor_disk_nor_the_table_of_processes(lines: Lines) -> None:
    assert lines["how_much_memory"][0]["bytes"] <= (MEMORY_MIB << 20) + SPARE_MEMORY_BYTES
    assert lines["how_large_a_file"][0]["bytes"] <= LARGEST_USUAL_DISK_BYTES * DISK_MARGIN
    assert lines["how_many_threads"][0]["threads"] <= 1024
    assert lines["how_many_descriptors"][0]["descriptors"] <= 1024
