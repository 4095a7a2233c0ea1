"""Several commands on one home and one box at the same moment."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite
from tests.framework.waiting import eventually, inspect, status

pytestmark = pytest.mark.vm


def at_once(boxlite: Boxlite, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Start all commands, then wait for all: exit status, output, complaints."""
    running = [
        boxlite.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        for words in commands
    ]
    ended = [(one, *one.communicate(timeout=120)) for one in running]
    return [(one.returncode, out.decode(), complaint.decode()) for one, out, complaint in ended]


def events_of(boxlite: Boxlite, name: str, kind: str) -> int:
    """How many there were for boxes of that name: each test has one of its own."""
    found = boxlite.out("events", "--since", "5m", "--no-follow", "--filter", f"name={name}",
                        "--filter", f"event={kind}", "--format", "{{.Cursor}}")  # fmt: skip
    return len(found.split())


def test_concurrent_execs_of_a_stopped_resumable_box_join_one_start(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "resumable", alpine, check=True)
    done = at_once(boxlite, *(["exec", "resumable", "echo", str(number)] for number in range(4)))
    assert [out for _, out, _ in done] == ["0\n", "1\n", "2\n", "3\n"], done
    assert events_of(boxlite, "resumable", "started") == 1


def test_exec_attach_and_cp_of_a_stopped_resumable_box_do_not_hinder_one_another(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    boxlite("create", "--name", "shared", alpine, check=True)
    (tmp_path / "file").write_text("copied")
    attached = boxlite.popen("attach", "shared", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        done = at_once(
            boxlite,
            ["exec", "shared", "echo", "well"],
            ["cp", str(tmp_path / "file"), "shared:/root/file"],
            ["exec", "shared", "echo", "well"],
        )
        assert [(code, out) for code, out, _ in done] == [(0, "well\n"), (0, ""), (0, "well\n")], done
        assert boxlite.out("exec", "shared", "cat", "/root/file") == "copied"
        assert events_of(boxlite, "shared", "started") <= 2, (
            "one start, beside that of a copy which came first"
        )
    finally:
        attached.kill()
        attached.wait()


def test_two_starts_make_one_machine(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "once", alpine, "sleep", "600", check=True)
    done = at_once(boxlite, ["start", "once"], ["start", "once"], ["start", "once"])
    assert [code for code, _, _ in done] == [0, 0, 0], done
    assert sum("is running already" in complaint for _, _, complaint in done) == 2, done
    assert events_of(boxlite, "once", "started") == 1


def test_two_stops_end_it_once_and_both_wait(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "ending", alpine, "sleep", "600", check=True)
    done = at_once(boxlite, ["stop", "-t", "1", "ending"], ["stop", "-t", "1", "ending"])
    assert [code for code, _, _ in done] == [0, 0], done
    assert status(boxlite, "ending") == "stopped"
    assert (events_of(boxlite, "ending", "stopping"), events_of(boxlite, "ending", "stopped")) == (1, 1)


def test_two_removals_have_one_winner_and_the_other_says_so(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "prey", alpine, "sleep", "600", check=True)
    done = at_once(boxlite, ["rm", "-f", "prey"], ["rm", "-f", "prey"])
    assert sorted(code for code, _, _ in done) == [0, 1], done
    assert sum("no such box: prey" in complaint for _, _, complaint in done) == 1, done
    assert boxlite.out("ls", "-aq") == "" and not list((boxlite.home / "boxes").iterdir())


def test_ls_and_inspect_never_wait_for_a_starting_box(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "slow", "--cold-boot", alpine, "sleep", "600", check=True)
    starting = boxlite.popen("start", "slow")
    looked = 0
    while starting.poll() is None:
        begun = time.monotonic()
        boxlite("ls", "-a", check=True)
        inspect(boxlite, "slow")
        looked += time.monotonic() - begun < 3
    assert starting.returncode == 0 and looked >= 2
    eventually(lambda: status(boxlite, "slow") == "running", within_s=5)
