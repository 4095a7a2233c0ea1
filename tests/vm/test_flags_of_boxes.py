"""What flags of commands about boxes do, those that no other test is about."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.framework.cli import Boxlite
from tests.framework.waiting import eventually, inspect

PATIENCE_S = 60
LISTENER = "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def web(boxlite_of_module: Boxlite, alpine: str) -> Iterator[Boxlite]:
    """The command on a home in which the box `web` runs, and is not removed."""
    boxlite_of_module("run", "-d", "--name", "web", alpine, "sleep", "100000", check=True)
    yield boxlite_of_module


def spawn(boxlite: Boxlite, *words: str) -> Any:
    """The command on a terminal."""
    child = pexpect.spawn(
        boxlite.argv()[0], list(words), env=boxlite.environment(TERM="xterm"), timeout=PATIENCE_S, encoding="utf-8"
    )  # fmt: skip
    child.delaybeforesend = None
    return child


def follow(boxlite: Boxlite, *words: str) -> subprocess.Popen[bytes]:
    return boxlite.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # type: ignore[no-any-return]


def line_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[bytes], signum: int = signal.SIGINT) -> int:
    process.send_signal(signum)
    process.communicate(timeout=PATIENCE_S)
    return process.returncode


def test_detach_keys_leave_the_command_running(web: Boxlite, alpine: str) -> None:
    for words in (
        ("run", "-it", "--detach-keys", "ctrl-x", "--name", "shell", alpine),
        ("attach", "--detach-keys", "ctrl-x", "shell"),
        ("start", "-ai", "--detach-keys", "ctrl-x", "shell"),
        ("exec", "-it", "--detach-keys", "ctrl-x", "web", "sh"),
    ):
        if words[0] == "start":
            web("stop", "-t", "0", "shell", check=True)
        child = spawn(web, *words)
        if words[0] == "attach":
            child.send("\r")
        child.expect_exact("# ")
        child.send("\x10\x11")  # the usual keys mean nothing now
        child.send("\x18")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0, words
        assert inspect(web, "shell")["State"]["Running"]
    assert "sh" in web.out("exec", "web", "ps")
    web("rm", "-f", "shell", check=True)


def test_sig_proxy_decides_who_gets_a_signal(web: Boxlite, alpine: str) -> None:
    for words, status in (
        (("run", "--sig-proxy", "--name", "listener"), 3),
        (("run", "--no-sig-proxy", "--name", "listener"), -signal.SIGUSR1),
    ):
        process = follow(web, *words, alpine, "sh", "-c", LISTENER)
        assert line_of(process) == b"ready\n"
        assert end(process, signal.SIGUSR1) == status, words
        web("rm", "-f", "listener", check=True)
    web("run", "-d", "--name", "listener", alpine, "sh", "-c", LISTENER, check=True)
    for words, status in (
        (("attach", "--no-sig-proxy", "listener"), -signal.SIGUSR1),
        (("attach", "--sig-proxy", "listener"), 3),
    ):
        process = follow(web, *words)
        assert line_of(process) == b"ready\n"
        assert end(process, signal.SIGUSR1) == status, words
    web("rm", "-f", "listener", check=True)


def test_files_of_variables_and_labels_are_read(web: Boxlite, alpine: str, tmp_path: Path) -> None:
    file = tmp_path / "pairs"
    file.write_text("# a comment\nA=one two\nB=\n")
    plan = json.loads(
        web.out("--json", "run", "--plan", "--env-file", str(file), "--label-file", str(file), alpine)
    )
    assert {"A", "B"} <= set(plan["EnvNames"])
    web("create", "--name", "read", "--env-file", str(file), "--label-file", str(file), alpine, check=True)
    made = inspect(web, "read")["Config"]
    assert made["Labels"] == {"A": "one two", "B": ""} and {"A=one two", "B="} <= set(made["Env"])
    assert web.out("exec", "--env-file", str(file), "web", "printenv", "A") == "one two"
    web("rm", "read", check=True)


def test_exec_privileged_has_every_capability(web: Boxlite) -> None:
    words = ("web", "grep", "CapEff", "/proc/self/status")
    assert int(web.out("exec", *words).split()[1], 16) < 1 << 38
    assert int(web.out("exec", "--privileged", *words).split()[1], 16).bit_count() > 38


def test_no_healthcheck_leaves_the_check_out(web: Boxlite, alpine: str) -> None:
    web("create", "--name", "checked", "--health-cmd", "true", alpine, check=True)
    assert inspect(web, "checked")["Lifecycle"]["Healthcheck"]["Test"] == ["/bin/sh", "-c", "true"]
    web("rm", "checked", check=True)
    done = web("run", "--no-healthcheck", "--health-cmd", "true", alpine)
    assert done.returncode == 2 and b"--no-healthcheck" in done.stderr


def test_create_rm_removes_the_box_after_its_run(web: Boxlite, alpine: str) -> None:
    web(
        "create",
        "--rm",
        "-i",
        "-u",
        "nobody",
        "--name",
        "once",
        alpine,
        "sh",
        "-c",
        "id -un; cat",
        check=True,
    )
    assert web("start", "-ai", "once", stdin=b"typed\n").stdout == b"nobody\ntyped\n"
    assert web("inspect", "once").returncode == 1


def test_create_tty_is_what_start_attaches_to(web: Boxlite, alpine: str) -> None:
    web("create", "-it", "--name", "screen", alpine, "sh", "-c", "tty; echo $TERM", check=True)
    child = spawn(web, "start", "-ai", "screen")
    child.expect_exact("/dev/")
    child.expect_exact("xterm")
    child.expect(pexpect.EOF)
    web("rm", "-f", "screen", check=True)


def test_quiet_run_says_nothing_of_a_pull(web: Boxlite, alpine: str) -> None:
    assert web("run", "--rm", "--pull", "always", alpine, "true", check=True).stderr
    assert not web("run", "--rm", "--quiet", "--pull", "always", alpine, "true", check=True).stderr


def test_ls_flags_choose_sort_and_spell_out(web: Boxlite, alpine: str) -> None:
    for name in ("zebra", "ape"):
        web("create", "--name", name, alpine, check=True)
    names = ("--format", "{{.Names}}")
    assert web.out("ls", "--last", "1", *names) == "ape"
    assert web.out("ls", "-a", "--sort", "name", *names).split() == ["ape", "web", "zebra"]
    assert web.out("ls", "-a", "--sort", "-name", *names).split() == ["zebra", "web", "ape"]
    web("rm", "zebra", "ape", check=True)
    long = f"{alpine.rpartition('/')[0]}/a-repository-with-a-name-of-some-length:3.20"
    web("tag", alpine, long, check=True)
    web("create", "--name", "far", long, check=True)
    assert long not in web.out("ls", "-a") and long in web.out("ls", "-a", "--no-trunc")
    web("rm", "far", check=True)


def test_inspect_type_looks_nowhere_else(web: Boxlite, alpine: str) -> None:
    assert web("inspect", "--type", "image", "web").returncode == 1
    assert web("inspect", "--type", "box", alpine).returncode == 1
    assert json.loads(web.out("inspect", "--type", "image", alpine))[0]["RepoTags"]


def test_top_no_trunc_shows_all_of_it(web: Boxlite) -> None:
    web("exec", "-d", "web", "sleep", "9999", "1", *"2" * 60, check=True)
    assert "…" in web.out("top", "web") and "…" not in web.out("top", "--no-trunc", "web")


def test_streams_go_on_until_they_are_interrupted(web: Boxlite) -> None:
    process = follow(web, "top", "--stream", "web")
    assert line_of(process).startswith(b"EXEC ID")
    assert end(process) == 130
    process = follow(web, "stats", "--stream", "--no-stream", "--format", "json", "web")
    assert [json.loads(line_of(process))["Name"] for _ in range(2)] == ["web", "web"]
    assert end(process) == 130


def test_update_sets_what_a_box_is_asked_to_be(web: Boxlite, alpine: str) -> None:
    web("create", "--name", "changed", alpine, check=True)
    web("update", "--memory", "768m", "--stop-signal", "INT", "--stop-timeout", "3", "changed", check=True)
    web("update", "--auto-stop", "10m", "--auto-delete", "1h", "changed", check=True)
    found = inspect(web, "changed")
    assert found["Memory"] == 768 << 20
    life = found["Lifecycle"]
    assert (life["StopSignal"], life["StopTimeout"], life["AutoStop"], life["AutoDelete"]) == (
        "INT",
        3,
        600,
        3600,
    )
    web("rm", "changed", check=True)


def test_run_flags_are_seen_inside(web: Boxlite, alpine: str, tmp_path: Path) -> None:
    words = (
        "--add-host",
        "db:192.0.2.7",
        "--dns-search",
        "example.org",
        "--cap-add",
        "NET_ADMIN",
        "--no-auto-resume",
    )
    web(
        "run", "-d", "--name", "many", "--publish-all", "--expose", "90", "--mount",
        f"type=bind,source={tmp_path},target=/m,readonly", *words, alpine, "sleep", "1000", check=True,
    )  # fmt: skip
    assert web.out("port", "many").startswith("90/tcp -> ")
    inside = "cat /etc/hosts /etc/resolv.conf; grep CapEff /proc/self/status; touch /m/x || echo refused"
    lines = web.out("exec", "many", "sh", "-c", inside).splitlines()
    assert any(line.split() == ["192.0.2.7", "db"] for line in lines)
    assert "search example.org" in lines and lines[-1] == "refused"
    (capabilities,) = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff")]
    assert capabilities & 1 << 12, "CAP_NET_ADMIN"
    web("stop", "-t", "0", "many", check=True)
    done = web("exec", "many", "true")
    assert done.returncode == 125 and b"boxlite start many" in done.stderr
    web("rm", "many", check=True)


def test_run_security_is_the_jail_that_is_planned(web: Boxlite, alpine: str) -> None:
    for line in (("run", "--plan", "--security", "enabled"), ("run", "--plan", "--security", "disabled")):
        plan = json.loads(web.out(*line, "--format", "json", alpine))
        assert (plan["Security"], plan["Jail"]["Enabled"]) == (line[-1], line[-1] == "enabled")


def test_rm_volumes_takes_anonymous_ones_along(web: Boxlite, alpine: str) -> None:
    for _ in range(2):
        web("run", "--name", "keeper", "-v", "/kept", alpine, "true", check=True)
        assert len(web.out("volume", "ls", "-q").split()) == 1
        web("rm", "--volumes", "keeper", check=True)
        assert not web.out("volume", "ls", "-q")
    web("run", "--name", "keeper", "-v", "/kept", alpine, "true", check=True)
    web("rm", "keeper", check=True)
    web("volume", "create", "--label", "a=b", "named", check=True)
    everything = web.out("volume", "prune", "-a", "--dry-run").split()
    assert len(everything) == 2 and len(web.out("volume", "ls", "-q").split()) == 2
    assert web.out("volume", "prune", "-a", "-f", "--filter", "label=a=b") == "named"
    assert web.out("volume", "prune", "--force").split() == [name for name in everything if name != "named"]


def test_volume_driver_other_than_local_is_refused(web: Boxlite) -> None:
    assert web("volume", "create", "--driver", "nfs", "far").returncode == 2
    assert web.out("volume", "create", "--driver", "local", "near") == "near"
    web("volume", "rm", "near", check=True)


def test_network_log_shows_refusals_as_they_come(web: Boxlite, alpine: str) -> None:
    for command in ("log", "hosts"):
        done = web("network", command, "web")
        assert (
            done.returncode == 1 and b"box web: invalid state: its network is not restricted" in done.stderr
        )
    web("run", "-d", "--name", "agent", "--allow-net", "192.0.2.1", alpine, "sleep", "10000", check=True)
    process = follow(
        web, "network", "log", "--follow", "--denied", "--format", "{{.Verdict}} {{.Port}}", "agent"
    )
    for port in ("81", "82"):
        web("exec", "agent", "nc", "-w", "1", "192.0.2.2", port)
        assert line_of(process).decode() == f"denied {port}\n"
    assert end(process) == 130
    web("rm", "-f", "agent", check=True)


def test_rm_all_takes_every_box(boxlite_of_module: Boxlite, alpine: str, tmp_path: Path) -> None:
    other = Boxlite(tmp_path / "home")
    for name in ("one", "two"):
        other("create", "--name", name, alpine, check=True)
    assert other("rm", "--all").returncode == 2, "nobody can be asked"
    assert len(other.out("rm", "--all", "--force").split()) == 2 and other.out("ls", "-aq") == ""


def test_tunnel_listens_where_it_is_told(web: Boxlite, tmp_path: Path) -> None:
    web("exec", "-d", "web", "nc", "-l", "-p", "90", "-e", "echo", "through", check=True)
    path = tmp_path / "socket"
    process = follow(web, "network", "tunnel", "--listen", f"unix:{path}", "web", "90")
    assert line_of(process).decode() == f"unix:{path}\n"
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        assert caller.recv(100) == b"through\n"
    assert end(process) == 130
    eventually(lambda: not path.exists(), within_s=10)


@pytest.fixture
def owned(web: Boxlite) -> Boxlite:
    web("exec", "web", "sh", "-c", "mkdir -p /o/d; echo a > /o/d/f; chown -R 1234:99 /o", check=True)
    return web


def test_cp_flags_keep_owners_refuse_and_flatten(owned: Boxlite, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    owned("cp", "web:/o/d/f", str(tmp_path / "plain"), check=True)
    owned("cp", "--archive", "web:/o/d/f", str(tmp_path / "kept"), check=True)
    assert [(tmp_path / name).stat().st_uid for name in ("plain", "kept")] == [0, 1234]
    done = owned("cp", "--no-overwrite", "web:/o/d/f", str(tmp_path / "kept"))
    assert done.returncode == 1 and b"kept" in done.stderr
    (tmp_path / "into").mkdir()
    owned("cp", "--no-include-parent", "web:/o/d", str(tmp_path / "into"), check=True)
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["f"]


def test_quiet_cp_draws_nothing_on_a_terminal(web: Boxlite, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(1 << 20) * 128)  # for a second or two
    shown = []
    for words in (("cp",), ("cp", "--quiet")):
        child = spawn(web, *words, str(tmp_path / "big"), "web:/big")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        shown.append(child.before)
    assert "big" in shown[0] and shown[1] == ""
