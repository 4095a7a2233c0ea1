"""Many commands at once on one home: each does its work or says why not, and what is left makes sense."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

import pytest

from engine.layout import Layout
from tests.framework.cli import Boxlite
from tests.framework.invariants import Invariants
from tests.framework.processes import processes_of

IDLE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")


def at_once(boxlite: Boxlite, *commands: Sequence[str]) -> list[subprocess.CompletedProcess[bytes]]:
    """Run commands beside each other; what each said, in their order."""
    begun = [
        boxlite.popen(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for words in commands
    ]
    ended = []
    for words, process in zip(commands, begun, strict=True):
        stdout, stderr = process.communicate(timeout=120)
        ended.append(subprocess.CompletedProcess(words, process.returncode, stdout, stderr))
    return ended


def test_twenty_commands_at_once_each_do_their_work(boxlite: Boxlite, alpine: str) -> None:
    for name in ("kept", "renamed", "removed-1", "removed-2"):
        boxlite("create", "--name", name, alpine, "true", check=True)
    runs = [["run", "--rm", alpine, "echo", f"run {number}"] for number in range(5)]
    creates = [["create", "--name", f"made-{number}", alpine, "true"] for number in range(5)]
    readers = [["ls", "-a"], ["ls", "-aq"], ["ls"], ["inspect", "kept"], ["inspect", "kept"], ["images"]]
    others = [["rename", "renamed", "new-name"], ["rm", "removed-1"], ["rm", "removed-2"], ["start", "kept"]]
    commands = [*runs, *creates, *readers, *others]
    assert len(commands) == 20
    ended = at_once(boxlite, *commands)
    for done in ended:
        assert done.returncode == 0, (done.args, done.stderr)
    assert [done.stdout for done in ended[:5]] == [f"run {number}\n".encode() for number in range(5)]
    names = set(boxlite.out("ls", "-a", "--format", "{{.Names}}").split())
    assert names == {"kept", "new-name", *(f"made-{number}" for number in range(5))}
    assert Invariants(boxlite).broken() == []


@pytest.mark.parametrize("running", [True, False])
def test_removals_of_one_box_one_wins_and_the_others_say_it_is_gone(
    boxlite: Boxlite, alpine: str, running: bool
) -> None:
    boxlite(*(("run", "-d") if running else ("create",)), "--name", "gone", alpine, *IDLE, check=True)
    ended = at_once(boxlite, *[["rm", "-f", "gone"]] * 3)
    assert [done.returncode for done in ended].count(0) == 1, [done.stderr for done in ended]
    for done in ended:
        assert done.returncode == 0 or b"no such box" in done.stderr, done.stderr
    assert Invariants(boxlite).broken() == []


def test_creates_of_one_name_one_wins_and_the_others_name_its_holder(boxlite: Boxlite, alpine: str) -> None:
    ended = at_once(boxlite, *[["create", "--name", "wanted", alpine, "true"]] * 4)
    assert sorted(done.returncode for done in ended) == [0, 125, 125, 125]
    for done in ended:
        assert done.returncode == 0 or b"'wanted' is in use" in done.stderr, done.stderr
    assert len(os.listdir(Layout(boxlite.home).boxes_dir)) == 1


def test_stop_and_remove_while_it_starts_leave_nothing_running(boxlite: Boxlite, alpine: str) -> None:
    for delay_s in (0.1, 0.3, 0.6, 0.9):
        boxlite("create", "--name", "torn", alpine, *IDLE, check=True)
        start = boxlite.popen("start", "torn", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        boxlite("rm", "-f", "torn", check=True)
        start.wait(60)
        assert Invariants(boxlite).broken() == []
        assert processes_of(boxlite.home) == []
