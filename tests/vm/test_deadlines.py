"""What a box's shim does by itself: deadlines, restarts, health checks. Times are short, margins for a busy host wide."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.framework.cli import Boxlite
from tests.framework.waiting import eventually, inspect, status, wait_gone, wait_status

pytestmark = pytest.mark.vm


def test_timeout_ends_a_box_however_busy_it_is(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "short", "--timeout", "2s", "--stop-timeout", "1s", alpine,
            "sh", "-c", "while :; do :; done", check=True)  # fmt: skip
    assert status(boxlite, "short") == "running"
    wait_status(boxlite, "short", "stopped", within_s=15)
    assert inspect(boxlite, "short")["State"]["Reason"] == "its --timeout of 2 s was over"


def test_auto_stop_waits_for_what_people_do_and_for_nothing_else(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "idle", "--auto-stop", "4s", "--stop-timeout", "0",
            "--health-cmd", "true", "--health-interval", "300ms", alpine,
            "sh", "-c", "while :; do echo busy; sleep 0.1; done", check=True)  # fmt: skip
    working = boxlite.popen("exec", "idle", "sleep", "6")
    assert working.wait(timeout=30) == 0, "a command of exec, however quiet, is activity"
    assert status(boxlite, "idle") == "running"
    begun = time.monotonic()
    wait_status(boxlite, "idle", "stopped", within_s=15)
    assert time.monotonic() - begun > 1
    assert inspect(boxlite, "idle")["State"]["Reason"] == "idle for 4 s (--auto-stop)"


def test_auto_stop_counts_input_of_attach_and_not_attach_itself(boxlite: Boxlite, alpine: str) -> None:
    boxlite(
        "create", "--name", "typed", "--auto-stop", "2s", "--stop-timeout", "0", alpine, "cat", check=True
    )
    boxlite("rm", "typed", check=True)
    with boxlite.popen("run", "-i", "--name", "typed", "--auto-stop", "2s", "--stop-timeout", "0", alpine, "cat",
                       stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as session:  # fmt: skip
        assert session.stdin is not None
        eventually(lambda: boxlite("ls", "-q").stdout != b"", within_s=30)
        for _ in range(8):
            session.stdin.write(b"x\n")
            session.stdin.flush()
            time.sleep(0.5)
        assert status(boxlite, "typed") == "running"
        wait_status(boxlite, "typed", "stopped", within_s=15)


def test_auto_stop_counts_copies_of_files(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "copied", "--auto-stop", "4s", "--stop-timeout", "0", alpine,
            "sleep", "600", check=True)  # fmt: skip
    begun = time.monotonic()
    while time.monotonic() - begun < 7:
        assert boxlite("cp", "copied:/etc/hostname", "-").returncode == 0
        time.sleep(0.5)
    assert events_of_starts(boxlite, "copied") == 1, "no copy had to wake it"
    wait_status(boxlite, "copied", "stopped", within_s=20)


def events_of_starts(boxlite: Boxlite, name: str) -> int:
    found = boxlite.out("events", "--since", "5m", "--no-follow", "--filter", f"name={name}",
                        "--filter", "event=started", "--format", "{{.Cursor}}")  # fmt: skip
    return len(found.split())


def test_auto_delete_counts_from_the_stop_and_is_forgotten_by_a_start(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--name", "brief", "--auto-delete", "3s", alpine, "true", check=True)
    assert status(boxlite, "brief") == "stopped"
    begun = time.monotonic()
    boxlite("stop", "brief", check=True)
    assert time.monotonic() - begun < 2, "a stop does not wait for the deletion"
    assert wait_gone(boxlite, "brief", within_s=15) < 10
    assert not list((boxlite.home / "boxes").iterdir())
    boxlite("create", "--name", "again", "--auto-delete", "2s", alpine, "sleep", "5", check=True)
    boxlite("start", "again", check=True)
    boxlite("stop", "-t", "0", "again", check=True)
    boxlite("start", "again", check=True)
    time.sleep(3)
    assert status(boxlite, "again") == "running"


@pytest.mark.parametrize(
    ("policy", "code", "runs"), [("on-failure:2", 7, 3), ("on-failure", 0, 1), ("no", 7, 1)]
)
def test_restart_policy_runs_a_box_as_often_as_it_says(
    boxlite: Boxlite, alpine: str, policy: str, code: int, runs: int
) -> None:
    boxlite("run", "-d", "--name", "again", "--restart", policy, alpine,
            "sh", "-c", f"echo run; exit {code}", check=True)  # fmt: skip
    wait_status(boxlite, "again", "stopped", within_s=40)
    shown = inspect(boxlite, "again")["State"]
    assert (shown["RestartCount"], shown["ExitCode"]) == (runs - 1, code)
    assert boxlite.out("logs", "again").split() == ["run"] * runs


def test_restart_always_runs_a_killed_command_again_and_ends_with_a_stop(
    boxlite: Boxlite, alpine: str
) -> None:
    boxlite("run", "-d", "--name", "ever", "--restart", "always", "--stop-timeout", "0", alpine,
            "sh", "-c", "date +%s%N; sleep 600", check=True)  # fmt: skip
    boxlite("exec", "ever", "sh", "-c", "echo data > /kept; sync", check=True)
    boxlite("kill", "ever", check=True)
    eventually(lambda: inspect(boxlite, "ever")["State"]["RestartCount"] == 1, within_s=20)
    eventually(lambda: boxlite("exec", "ever", "cat", "/kept").stdout == b"data\n", within_s=20)
    boxlite("stop", "ever", check=True)
    time.sleep(1)
    shown = inspect(boxlite, "ever")["State"]
    assert (shown["Status"], shown["Reason"]) == ("stopped", "stop")
    boxlite("start", "ever", check=True)
    assert inspect(boxlite, "ever")["State"]["RestartCount"] == 0


def test_health_goes_from_starting_to_healthy_to_unhealthy(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "well", "--health-cmd", "test -e /well", "--health-interval", "400ms",
            "--health-retries", "2", "--health-start-period", "60s", alpine, "sleep", "600", check=True)  # fmt: skip

    def health() -> str:
        return str(inspect(boxlite, "well")["State"]["Health"]["Status"])

    eventually(lambda: health() == "starting", within_s=10)
    time.sleep(2)
    assert health() == "starting", "failures do not count in the start period"
    boxlite("exec", "well", "touch", "/well", check=True)
    eventually(lambda: health() == "healthy", within_s=15)
    assert boxlite.out("ls", "--format", "{{.Status}}").endswith("(healthy)")
    boxlite("exec", "well", "rm", "/well", check=True)
    eventually(lambda: health() == "unhealthy", within_s=15)
    assert inspect(boxlite, "well")["State"]["Health"]["FailingStreak"] >= 2
    assert boxlite.out("ls", "--filter", "health=unhealthy", "--format", "{{.Names}}") == "well"
    events = boxlite.out("events", "--since", "1m", "--no-follow", "--filter", "event=health",
                         "--filter", "name=well", "--format", "{{.Reason}}")  # fmt: skip
    assert events.split() == ["starting", "healthy", "unhealthy"]
