"""The life of a box through the commands that change it, on real machines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite
from tests.framework.waiting import eventually, inspect, status, wait_status

pytestmark = pytest.mark.vm

POLITE = ["sh", "-c", 'trap "exit 3" TERM; trap "echo usr1" USR1; while :; do sleep 600 & wait $!; done']
"""A main command that handles its stop signal."""


def test_stop_asks_first_and_records_the_commands_own_code(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "polite", alpine, *POLITE, check=True)
    begun = time.monotonic()
    assert boxlite.out("stop", "polite") == "polite"
    assert time.monotonic() - begun < 5
    shown = inspect(boxlite, "polite")["State"]
    assert (shown["Status"], shown["ExitCode"], shown["Reason"]) == ("stopped", 3, "stop")


def test_stop_signal_and_grace_are_the_boxs_or_the_commands(boxlite: Boxlite, alpine: str) -> None:
    script = 'trap "exit 5" INT; while :; do sleep 600 & wait $!; done'
    boxlite("run", "-d", "--name", "int", "--stop-signal", "INT", alpine, "sh", "-c", script, check=True)
    boxlite("stop", "int", check=True)
    assert inspect(boxlite, "int")["State"]["ExitCode"] == 5
    boxlite("run", "-d", "--name", "deaf", "--stop-timeout", "1s", alpine, "sleep", "600", check=True)
    begun = time.monotonic()
    boxlite("restart", "deaf", check=True)
    boxlite("stop", "-t", "0", "deaf", check=True)
    assert time.monotonic() - begun < 10
    assert inspect(boxlite, "deaf")["State"]["ExitCode"] == 137


def test_kill_sends_any_signal_to_the_main_command(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "target", alpine, *POLITE, check=True)
    boxlite("kill", "-s", "USR1", "target", check=True)
    eventually(lambda: boxlite("logs", "target").stdout == b"usr1\n", within_s=5)
    waiting = boxlite.popen("wait", "target", stdout=subprocess.PIPE)
    boxlite("kill", "target", check=True)
    assert waiting.communicate(timeout=20)[0] == b"137\n"
    assert boxlite("kill", "target").returncode == 1


def test_pause_halts_the_box_and_refuses_what_needs_it_running(boxlite: Boxlite, alpine: str) -> None:
    script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
    boxlite("run", "-d", "--name", "ticker", alpine, "sh", "-c", script, check=True)
    assert boxlite.out("pause", "ticker") == "ticker"
    assert status(boxlite, "ticker") == "paused"
    assert boxlite.out("ls", "--format", "{{.Status}}").startswith("paused")
    before = boxlite("logs", "ticker").stdout
    for words in (["exec", "ticker", "true"], ["attach", "ticker"], ["kill", "ticker"], ["top", "ticker"]):
        refused = boxlite(*words)
        assert refused.returncode != 0 and b"boxlite unpause ticker" in refused.stderr, words
    assert boxlite("pause", "ticker").returncode == 1
    assert boxlite("logs", "ticker").stdout == before
    boxlite("unpause", "ticker", check=True)
    eventually(lambda: boxlite("logs", "ticker").stdout != before, within_s=5)
    assert boxlite.out("exec", "ticker", "echo", "on") == "on"
    boxlite("pause", "ticker", check=True)
    boxlite("stop", "-t", "0", "ticker", check=True)
    assert status(boxlite, "ticker") == "stopped"


def test_start_of_several_and_wait_for_several(boxlite: Boxlite, alpine: str) -> None:
    for number in (3, 4):
        boxlite("create", "--name", f"job{number}", alpine, "sh", "-c", f"exit {number}", check=True)
    done = boxlite("start", "job3", "nonesuch", "job4")
    assert (done.stdout, done.returncode) == (b"job3\njob4\n", 1)
    assert b"no such box: nonesuch" in done.stderr
    assert boxlite.out("wait", "job4", "job3") == "4\n3"


def test_start_attached_and_interactive_is_the_command(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "echo", alpine, "sh", "-c", "echo out; echo err >&2; exit 6", check=True)
    done = boxlite("start", "-a", "echo")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 6)
    assert boxlite("start", "-a", "echo").stdout == b"out\n"


def test_events_tell_the_life_in_order_and_again_by_filter(boxlite: Boxlite, alpine: str) -> None:
    since = datetime.now(UTC).isoformat()
    follower = boxlite.popen(
        "events", "--since", since, "--format", "{{.Event}}", "--filter", "label=kept",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    boxlite("run", "-d", "--name", "one", "-l", "kept=yes", alpine, *POLITE, check=True)
    boxlite("run", "--rm", "--name", "other", alpine, "true", check=True)
    boxlite("stop", "one", check=True)
    boxlite("rename", "one", "two", check=True)
    time.sleep(0.5)
    follower.send_signal(signal.SIGINT)
    seen = follower.communicate(timeout=10)[0].decode().split()
    assert seen == ["created", "started", "stopping", "stopped", "renamed"]
    boxlite("rm", "two", check=True)
    again = boxlite.out(
        "events", "--since", since, "--no-follow", "--format", "json", "--filter", "name=other"
    )
    objects = [json.loads(line) for line in again.splitlines()]
    assert [found["Event"] for found in objects] == ["created", "started", "stopped", "removed"]
    cursors = [found["Cursor"] for found in objects]
    assert cursors == sorted(set(cursors))
    later = boxlite.out(
        "events", "--after", str(cursors[1]), "--no-follow", "--format", "{{.Event}}", "--filter", "box=other"
    )
    assert later.split() == ["stopped", "removed"]
    assert boxlite.out("events", "--until", since, "--since", since) == ""


def test_top_stats_and_port_look_into_a_running_box(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "seen", "-p", "127.0.0.1::80", alpine, "sleep", "600", check=True)
    follower = boxlite.popen("exec", "seen", "sleep", "601")
    listed = lambda: json.loads(boxlite.out("top", "seen", "--format", "json"))  # noqa: E731
    eventually(lambda: len(listed()) == 2 and listed()[1]["Attached"] > 0, within_s=10)
    assert [one["Command"] for one in listed()] == [["sleep", "600"], ["sleep", "601"]]
    follower.kill()
    follower.wait()
    (figures,) = json.loads(boxlite.out("stats", "--no-stream", "--format", "json"))
    assert figures["Name"] == "seen" and figures["Pids"] >= 1
    assert 0 < figures["MemoryBytes"] < figures["MemoryLimitBytes"] < 512 * 2**20
    assert figures["HostMemoryBytes"] > figures["MemoryBytes"] and figures["HostCpuPercent"] >= 0
    address = boxlite.out("port", "seen", "80")
    assert address.startswith("127.0.0.1:") and boxlite.out("port", "seen") == f"80/tcp -> {address}"
    assert boxlite("port", "seen", "81").returncode == 1


def test_stats_stream_prints_every_second_until_interrupted(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "busy", alpine, "sh", "-c", "while :; do :; done", check=True)
    with boxlite.popen("stats", "--format", "json", stdout=subprocess.PIPE) as stream:
        assert stream.stdout is not None
        looks = [json.loads(stream.stdout.readline()) for _ in range(3)]
        stream.send_signal(signal.SIGINT)
        assert stream.wait(timeout=10) == 130
    assert {look["Name"] for look in looks} == {"busy"} and looks[-1]["CpuPercent"] > 10


def test_update_changes_what_it_may_when_it_may(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "old", "-l", "a=1", "-l", "b=2", alpine, *POLITE, check=True)
    boxlite(
        "update",
        "--label",
        "c=3",
        "--remove-label",
        "a",
        "--restart",
        "always",
        "--name",
        "new",
        "old",
        check=True,
    )
    shown = inspect(boxlite, "new")
    assert shown["Config"]["Labels"] == {"b": "2", "c": "3"}
    assert shown["Lifecycle"]["RestartPolicy"]["Name"] == "always"
    refused = boxlite("update", "--cpus", "2", "new")
    assert refused.returncode == 1 and b"boxlite stop new" in refused.stderr
    boxlite("update", "--timeout", "1s", "--restart", "no", "new", check=True)
    wait_status(boxlite, "new", "stopped", within_s=10)
    assert inspect(boxlite, "new")["State"]["Reason"] == "its --timeout of 1 s was over"
    boxlite("update", "--cpus", "2", "--timeout", "0", "new", check=True)
    boxlite("start", "new", check=True)
    assert boxlite.out("exec", "new", "nproc") == "2"


def test_prune_asks_filters_and_leaves_what_runs(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "runs", alpine, "sleep", "600", check=True)
    boxlite("create", "--name", "waits", alpine, check=True)
    boxlite("run", "--name", "kept", "-l", "keep", alpine, "true", check=True)
    gone = boxlite.out("run", "--name", "gone", "--cidfile", str(boxlite.home / "id"), alpine, "true")
    gone = (boxlite.home / "id").read_text()
    assert boxlite("prune").returncode == 2
    done = boxlite("prune", "-f", "--filter", "label!=keep", check=True)
    assert done.stdout.decode().split() == [gone] and b"freed" in done.stderr
    names = boxlite.out("ls", "-a", "--format", "{{.Names}}").split()
    assert sorted(names) == ["kept", "runs", "waits"]
    would = boxlite("system", "prune", "--dry-run", check=True)
    assert b"kept" in would.stdout and b"would free" in would.stderr
    assert "kept" in boxlite.out("ls", "-a", "--format", "{{.Names}}")


def test_gc_and_df_know_what_nothing_needs(tmp_path: Path, alpine: str) -> None:
    boxlite = Boxlite(tmp_path / "home")  # not the shared guest images and templates: they are others' too
    boxlite("create", "--name", "one", alpine, check=True)
    usage = {line["Type"]: line for line in json.loads(boxlite.out("df", "--format", "json"))}
    assert usage["boxes"]["Total"] == 1 and usage["images"]["Active"] == 1
    assert usage["images"]["Size"] > 2**20
    half_made = boxlite.home / "tmp" / "half-made"
    half_made.mkdir()
    boxlite("gc", check=True)
    assert half_made.exists(), "what is young may still be in the making"
    os.utime(half_made, (1, 1))
    assert str(half_made) in boxlite.out("gc", "--dry-run") and half_made.exists()
    assert str(half_made) in boxlite.out("gc") and not half_made.exists()
    stray = boxlite.home / "boxes" / "0rphan0rphan"  # nobody holds its lock
    stray.mkdir()
    assert boxlite.out("ls", "-a", "--format", "{{.Names}}") == "one" and not stray.exists()
    shutil.rmtree(boxlite.home / "templates")  # as somebody does who wants room
    assert boxlite.out("run", "--rm", alpine, "echo", "built anew") == "built anew"


def test_inspect_of_latest_size_and_image(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "first", alpine, check=True)
    boxlite("create", "--name", "last", alpine, check=True)
    assert boxlite.out("inspect", "-l", "-f", "{{.Name}}") == "last"
    (shown,) = json.loads(boxlite.out("inspect", "-s", "last"))
    assert shown["SizeRw"] >= 0 and shown["SizeRootFs"] >= shown["SizeRw"]
    (image,) = json.loads(boxlite.out("inspect", alpine))
    assert image["Os"] == "linux" and image["Config"]["Cmd"] == ["/bin/sh"]


def test_ls_filters_sorts_and_formats(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "b", "-l", "team=x", alpine, check=True)
    boxlite("run", "--name", "a", "-l", "team=y", alpine, "sh", "-c", "exit 4")
    boxlite("run", "-d", "--name", "c", alpine, "sleep", "600", check=True)

    def names(*words: str) -> list[str]:
        return boxlite.out("ls", "--format", "{{.Names}}", *words).split()

    assert names() == ["c"] and names("-a") == ["c", "a", "b"]
    assert names("-a", "--sort", "name") == ["a", "b", "c"] and names("-n", "2") == ["c", "a"]
    assert names("--filter", "exited=4") == ["a"] and names("--filter", "status=configured") == ["b"]
    assert names("-a", "--filter", "label=team=x") == ["b"] and names("-a", "--filter", "name=b") == ["b"]
    assert names("--filter", "before=a") == ["b"] and names("--filter", "since=a") == ["c"]
    assert names("-a", "--filter", "ancestor=" + alpine.rpartition(":")[0]) == ["c", "a", "b"]
    assert json.loads(boxlite.out("ls", "-l", "--format", "json"))[0]["Names"] == "c"
    assert len(boxlite.out("ls", "-aq").splitlines()) == 3


def test_logs_by_time_with_stamps(boxlite: Boxlite, alpine: str) -> None:
    script = "echo one; sleep 1; echo two; echo err >&2"
    boxlite("run", "--name", "talk", alpine, "sh", "-c", script, check=True)
    lines = boxlite.out("logs", "-t", "talk").splitlines()
    assert [line.split()[1] for line in lines] == ["one", "two"]
    times = [datetime.fromisoformat(line.split()[0]) for line in lines]
    assert (times[1] - times[0]).total_seconds() > 0.8
    cut = lines[1].split()[0]
    assert boxlite.out("logs", "--since", cut, "talk") == "two"
    assert boxlite("logs", "--until", lines[0].split()[0], "talk").stdout == b"one\n"
    assert boxlite("logs", "-n", "1", "talk").stderr == b"err\n"
