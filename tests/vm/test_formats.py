"""`--format json` of every command that prints: a story told once, each command of the tree a part of it."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from boxlite_cli.pages.tree import Page, read_tree
from tests.framework.cli import Boxlite
from tests.framework.registry import RunningRegistry

OWN_OUTPUT = {
    "exec": "the output of a command in the box",
    "attach": "the output of a command in the box",
    "cp": "files, or a tar archive",
    "save": "an archive; its --format says of which kind",
    "image save": "an archive; its --format says of which kind",
    "completion": "a script",
    "help": "a text",
}
"""Commands without a result of their own to be formatted, and what they print instead."""
STREAMS = {"logs", "events", "network log"}
STORY = """
    pull {alpine}
    image pull {alpine}
    tag {alpine} localhost/mine:1
    image tag {alpine} localhost/mine:2
    images
    image ls
    image inspect {alpine}
    image history {alpine}
    create --name made {alpine} sleep 1000
    run -d --name web --allow-net 192.0.2.1 -p 127.0.0.1::80 {alpine} sh -c 'echo one; echo two >&2; nc -w 1 192.0.2.2 80; exec sleep 1000'
    start made
    ls -a
    inspect web
    why web
    top web
    stats --no-stream web
    port web
    logs web
    network log web
    network hosts web
    events --no-follow
    pause made
    unpause made
    kill -s USR1 made
    update --label a=b made
    rename made other
    restart -t 0 other
    stop -t 0 other
    wait other
    rm other
    prune -f
    gc --dry-run
    load -i {archive}
    image load -i {archive}
    import {rootfs} localhost/imported:1
    image import {rootfs} localhost/imported:2
    rmi localhost/mine:1
    image rm localhost/mine:2
    image prune --dry-run
    login -u me -p secret {registry}
    logout {registry}
    info
    df
    version
    config show
    config path
    volume create data
    volume ls
    volume inspect data
    volume get data
    volume rm data
    volume prune -f
    system setup
    system doctor
    system df
    system prune --dry-run
    system guest push {registry}/guest:1
"""
"""In their order; each line ends up with `--format json` after the command's name."""
OBJECTS = {
    "create", "run", "rename", "pull", "image pull", "tag", "image tag", "import", "image import", "why", "network hosts",
    "prune", "gc", "image prune", "volume prune", "system prune", "login", "logout", "info", "version", "config path",
    "volume create", "system setup", "system guest push",
}  # fmt: skip


def path_of(words: list[str], paths: set[str]) -> str:
    return next(path for n in (3, 2, 1) if (path := " ".join(words[:n])) in paths)


@pytest.fixture(scope="module")
def tree() -> Page:
    return read_tree()


def leaves(tree: Page) -> set[str]:
    return {" ".join(page.path) for page in tree.walk() if not page.commands}


@pytest.fixture(scope="module")
def told(
    boxlite_of_module: Boxlite,
    alpine: str,
    registry: RunningRegistry,
    alpine_rootfs: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tree: Page,
) -> dict[str, str]:
    """What each command printed, by its path."""
    boxlite = boxlite_of_module
    archive = tmp_path_factory.mktemp("formats") / "alpine.tar"
    boxlite("save", "-o", str(archive), alpine, check=True)
    values = {"alpine": alpine, "archive": archive, "rootfs": alpine_rootfs, "registry": registry.host}
    printed = {}
    for line in STORY.strip().splitlines():
        words = shlex.split(line.format_map(values))
        path = path_of(words, leaves(tree))
        depth = len(path.split())
        done = boxlite(*words[:depth], "--format", "json", *words[depth:], HOME=str(boxlite.home))
        assert done.returncode == 0 or path == "system doctor", f"{line}: {done.stderr.decode()}"
        printed[path] = done.stdout.decode()
    return printed


def test_format_every_command_has_it_or_prints_what_is_not_its_own(tree: Page) -> None:
    without = {
        " ".join(page.path)
        for page in tree.walk()
        if not page.commands and not any("--format" in option.names for option in page.options)
    }
    assert without <= OWN_OUTPUT.keys(), "give it --format (boxlite_cli/results.py)"
    assert OWN_OUTPUT.keys() <= leaves(tree)


def test_format_json_of_every_command_is_json(told: dict[str, str], tree: Page) -> None:
    assert leaves(tree) - OWN_OUTPUT.keys() - told.keys() == {"network tunnel"}, (
        "tell of the command in STORY"
    )
    for path, text in told.items():
        if path in STREAMS:
            assert all(isinstance(json.loads(line), dict) for line in text.splitlines()), path
            assert text or path == "network log"
        else:
            assert isinstance(json.loads(text), dict if path in OBJECTS else list), path


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("create", {"Name": "made", "Status": "configured"}),
        ("run", {"Name": "web", "Status": "running"}),
        ("rename", {"Name": "other"}),
        ("start", {"Name": "made", "Status": "running"}),
        ("pause", {"Name": "made", "Status": "paused"}),
        ("unpause", {"Name": "made", "Status": "running"}),
        ("kill", {"Name": "made", "Signal": signal.SIGUSR1}),
        ("update", {"Name": "made"}),
        ("restart", {"Name": "other", "Status": "running"}),
        ("stop", {"Name": "other", "Status": "stopped"}),
        ("wait", {"Name": "other", "ExitCode": 137}),
        ("rm", {"Name": "other"}),
        ("port", {"BoxPort": 80, "Protocol": "tcp", "HostIp": "127.0.0.1"}),
        ("tag", {"Name": "localhost/mine:1"}),
        ("rmi", {"Untagged": ["localhost/mine:1"], "Deleted": []}),
        ("import", {"Name": "localhost/imported:1"}),
        ("volume create", {"Name": "data", "Driver": "local", "Boxes": []}),
        ("volume rm", {"Name": "data"}),
        ("login", {"Username": "me"}),
        ("logout", {"Forgotten": True}),
        ("prune", {"Removed": [], "Freed": 0, "DryRun": False}),
        ("gc", {"DryRun": True}),
        ("config path", {"Exists": False}),
    ],
)
def test_format_json_says_what_was_done(told: dict[str, str], path: str, wanted: dict[str, Any]) -> None:
    document = json.loads(told[path])
    found = document if path in OBJECTS else document[0]
    assert wanted.items() <= found.items()


def test_format_json_of_logs_has_streams_and_times(told: dict[str, str]) -> None:
    lines = [json.loads(line) for line in told["logs"].splitlines()]
    assert {(line["Stream"], line["Line"]) for line in lines} == {("stdout", "one"), ("stderr", "two")}
    assert all(line["Time"].endswith("Z") for line in lines)


def test_format_others_say_the_same(told: dict[str, str], boxlite_of_module: Boxlite, alpine: str) -> None:
    boxlite = boxlite_of_module
    box_id = json.loads(told["run"])["ID"]
    assert boxlite.out("update", "-l", "a=b", "--format", "{{.ID}} {{.Name}}", "web") == f"{box_id} web"
    assert yaml.safe_load(boxlite.out("pause", "--format", "yaml", "web"))[0]["Status"] == "paused"
    assert json.loads(boxlite.out("--json", "unpause", "web"))[0]["ID"] == box_id
    assert boxlite.out("logs", "--format", "{{.Stream}}: {{.Line}}", "web").splitlines()[0] == "stdout: one"
    image_id = json.loads(boxlite.out("pull", "--json", alpine))["ID"]
    assert boxlite.out("pull", "-q", alpine) == boxlite.out("pull", "-q", "--json", alpine) == image_id
    made = json.loads(boxlite.out("create", "-q", "--json", "--name", "brief", alpine))
    assert boxlite.out("rm", "--format", "{{.Name}}", made["ID"]) == "brief"


def test_format_of_some_that_failed_has_the_others(told: dict[str, str], boxlite_of_module: Boxlite) -> None:
    done = boxlite_of_module("update", "-l", "a=c", "--json", "web", "nope")
    assert done.returncode == 1
    assert [one["Name"] for one in json.loads(done.stdout)] == ["web"]
    assert json.loads(done.stderr)["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "--format", "json", "alpine"), "--format is for -d and --plan"),
        (("start", "-a", "--format", "json", "web"), "--format is for a start without -a and -i"),
        (("stop", "--format", "jsn", "web"), "format 'jsn' is not one of"),
        (("pull", "-q", "--format", "json", "alpine"), "-q cannot be combined with --format"),
        (("logs", "--console", "--format", "json", "web"), "--console is text"),
    ],
)
def test_format_where_it_means_nothing_is_refused(
    boxlite_of_module: Boxlite, words: tuple[str, ...], complaint: str
) -> None:
    done = boxlite_of_module(*words)
    assert done.returncode == 2 and complaint in done.stderr.decode() and not done.stdout


def test_stats_of_a_box_that_does_not_run_has_no_figures(boxlite_of_module: Boxlite, alpine: str) -> None:
    boxlite_of_module("create", "--name", "idle", alpine, check=True)
    heading, row = boxlite_of_module.out("stats", "--no-stream", "idle").splitlines()
    assert heading.startswith("NAME") and row.split() == ["idle", *["--"] * (len(row.split()) - 1)]
    (found,) = json.loads(boxlite_of_module.out("stats", "--no-stream", "--format", "json", "idle"))
    assert found["Name"] == "idle" and found["MemoryBytes"] is None
    template = "{{.Name}} {{.CPUPerc}} {{.Pids}}"
    assert boxlite_of_module.out("stats", "--no-stream", "--format", template, "idle") == "idle -- --"


@pytest.fixture
def tunnel(told: dict[str, str], boxlite_of_module: Boxlite) -> Iterator[subprocess.Popen[bytes]]:
    process = boxlite_of_module.popen("network", "tunnel", "--json", "web", "80", stdout=subprocess.PIPE)
    yield process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


def test_format_json_of_a_tunnel_comes_while_it_stands(tunnel: subprocess.Popen[bytes]) -> None:
    assert tunnel.stdout is not None
    text = b""
    while not text.endswith(b"}\n"):
        text += tunnel.stdout.readline()
    found = json.loads(text)
    assert found["Box"] == "web" and found["Address"] == f"127.0.0.1:{found['HostPort']}"
