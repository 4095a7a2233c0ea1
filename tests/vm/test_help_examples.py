"""Every example of every command's help runs, as it is written but for the substitutions below."""

from __future__ import annotations

import gzip
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest

from boxlite_cli.pages.tree import read_tree
from tests.framework.boxes import ALPINE_ENV
from tests.framework.cli import Boxlite
from tests.framework.image_builder import build_image, file, folder
from tests.framework.registry import RunningRegistry, free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
SERVER = b"#!/bin/sh\ntrap 'exit 0' TERM\n[ $# = 0 ] || exit 0\nwhile :; do sleep 1000 & wait $!; done\n"
PROGRAMS_IN_IMAGES = {
    "nginx:latest": {"usr/bin/nginx": SERVER, "srv/check": b"#!/bin/sh\necho $LEVEL $*\n"},
    "python:3.12-slim": {"bin/bash": b'#!/bin/sh\nexec sh "$@"\n'},
    "python:3.12": {"usr/bin/python": b"#!/bin/sh\necho $OPENAI_API_KEY\n"},
    "alpine:latest": {},
    "alpine:3.20": {},
}
"""Images of Docker Hub, as they stand in the tests' registry: Alpine, with these programs."""
PROGRAMS = {
    "docker": 'if [ "$2" = --output ]; then exec cp images.tar "$3"; fi; exec cat images.tar',
    "podman": 'while [ "$1" != --output ]; do shift; done; exec cp images.tar "$2"',
    "ssh": 'shift; exec "$@"',
}
"""What stands in for programs that would need a daemon, an account or another host."""
SUBSTITUTES = {
    "ghcr.io": "{registry}",
    "registry.example.com:5000": "{registry}",
    "localhost:5000": "{registry}",
    "sha256:…": "{digest}",
    " 4f2c1a": " {image_id}",
    " 3f9c2a": " {exec_id}",
    "8080:80": "{port}:80",
    "127.0.0.1:9000": "127.0.0.1:0",
    "/tmp/db.sock": "{work}/db.sock",
    "/srv/boxes": "{work}/other-home",
    "--after 120": "--after 1",
}
"""What cannot be had here, and what is taken instead."""
OWN_HOME = {"gc", "system setup", "system prune"}
"""Commands that would touch the guest and the templates that the tests share: they get a home to themselves."""
MAY_FAIL = {"system doctor": 1}
"""The status that says: this host lacks something."""
PREPARE = {
    **dict.fromkeys(("exec", "logs", "inspect", "why", "top", "events"), "running web"),
    "run": "gone web",
    "create": "gone web shell",
    "cp": "running web other",
    "start": 'case "$EXAMPLE" in *shell*) gone shell; boxlite create -it --name shell alpine:3.20 ;;'
    " *) running web db; boxlite stop -t 0 web db ;; esac",
    "attach": "running web; boxlite start shell || boxlite run -dit --name shell alpine:3.20",
    "wait": 'case "$EXAMPLE" in *job1*) running job1 job2; boxlite stop -t 0 job1 job2 ;;'
    " *) gone job; boxlite run -d --name job -l batch=7 alpine:3.20 sleep 2 ;; esac",
    "stats": "running web db",
    "port": "running web; boxlite start dns || boxlite run -d --name dns -p 127.0.0.1::53/udp nginx",
    "network log": "boxlite start agent || boxlite run -d --name agent --allow-net 192.0.2.1 nginx",
    "network hosts": "boxlite start agent",
    "network tunnel": "running web db",
    "stop": "gone dns agent other; running web db",
    "kill": "running web db",
    "pause": "running web db; boxlite unpause web db",
    "unpause": "running web db; boxlite pause web db",
    "update": "gone web; exists web db",
    "rename": "gone web web-old newest brave_lynx; exists brave_lynx; boxlite create --name spare nginx;"
    ' case "$EXAMPLE" in *brave*) ;; *) exists web ;; esac',
    "prune": "boxlite run --name done alpine:3.20 true",
    "rm": "exists web db",
    "pull": "boxlite pull -q alpine:3.20",
    "image prune": "boxlite import rootfs.tar localhost/old; boxlite import -m again rootfs.tar localhost/old",
    "tag": "boxlite pull -q alpine:3.20; boxlite tag alpine:3.20 localhost/web:1",
    "image rm": "boxlite rm -f $(boxlite ls -aq --filter ancestor=alpine); boxlite pull -q alpine:3.20;"
    " boxlite import rootfs.tar localhost/old; boxlite import -m again rootfs.tar localhost/old",
    "save": "boxlite pull -q alpine:3.20; boxlite tag alpine:3.20 web:1",
    "volume inspect": "boxlite volume create data",
    "volume get": "boxlite volume create data",
    "volume prune": "boxlite volume create --label scratch data",
    "volume rm": "boxlite rm -f $(boxlite ls -aq); boxlite volume create data",
    "system setup": "[ -e own-home/guest/current ] || {{ boxlite system guest push {registry}/owner/guest:1;"
    " mkdir -p -m 700 own-home/guest; cd $BOXLITE_HOME/guest;"
    " cp -a $(cat current) debian-* current {work}/own-home/guest; }}",
}
"""What is there before each example of a command, told by its name or the word after `image`; of several names of a
command it is the first in help."""
READERS = {
    "exec", "ls", "inspect", "logs", "why", "top", "stats", "events", "port", "network log", "network hosts",
    "network tunnel", "images", "image ls", "image inspect", "image history", "image tag", "image load", "image import",
    "login", "logout", "info", "df", "version", "config show", "config path", "volume ls", "volume inspect", "volume get",
    "system doctor", "system df", "system guest push", "completion", "help",
}  # fmt: skip
"""Commands after which all is as it was prepared."""
PRELUDE = """
running() {
    boxlite start "$@" && return
    for box; do boxlite start $box || boxlite run -d --name $box -l team=web -p 127.0.0.1::80 nginx; done
}
exists() { for box; do boxlite inspect --type box $box || boxlite create --name $box -l draft nginx; done; }
gone() { boxlite rm -f "$@"; }
"""
DETACH = "\x10\x11"
ON_A_TERMINAL: dict[str, Sequence[tuple[str, str]]] = {
    "boxlite run -it": [("# ", "exit\r")],
    "boxlite exec -it": [("# ", "exit\r")],
    "boxlite start -ai shell": [("# ", "exit\r")],
    "boxlite attach shell": [("# ", DETACH)],
    "boxlite attach --detach-keys": [("# ", "\x18")],
    "boxlite rm -a": [("y/N", "y\r")],
    "boxlite prune": [("y/N", "y\r")],
    "boxlite volume prune -a": [("y/N", "y\r")],
    "boxlite system prune": [("y/N", "y\r")],
    "boxlite login ghcr.io": [("Username", "me\r"), ("Password", "secret\r")],
    "boxlite login -u me": [("Password", "secret\r")],
}
"""Examples for somebody at a terminal: what is waited for, and what is typed. Flags after `prune` answer beforehand."""
ENDLESS = {
    "boxlite attach --no-stdin": signal.SIGKILL,  # a signal that can be passed on would be
    "boxlite attach web 3f9c2a": signal.SIGKILL,
    "boxlite logs -f": signal.SIGINT,
    "boxlite top -s": signal.SIGINT,
    "boxlite stats --format": signal.SIGINT,
    "boxlite stats": signal.SIGINT,
    "boxlite events": signal.SIGINT,
    "boxlite network log -f": signal.SIGINT,
    "boxlite network tunnel": signal.SIGINT,
}
"""Examples that go on until they are told to end, and how. They have ended when they run no more after a moment."""
NOT_ENDLESS = ("--no-stream", "--no-follow")


@dataclass(frozen=True, slots=True)
class Example:
    path: str
    text: str

    def __str__(self) -> str:
        return self.text

    def find(self, table: dict[str, Any]) -> Any:
        """What the table has for this example: of the longest beginning, where it stands in front or after a pipe."""
        found = [value for start, value in sorted(table.items(), reverse=True) if self.text.startswith(start)]
        return found[0] if found and not any(word in self.text for word in NOT_ENDLESS) else None


def examples() -> list[Example]:
    """Each once, in the order of help, without the note after it."""
    found = {}
    for page in read_tree().walk():
        if page.commands:
            continue
        path = " ".join(page.path)
        for example in page.examples:
            found.setdefault(re.sub(r" {3,}.*", "", example), path)
    return [Example(path, text) for text, path in found.items()]


@dataclass(slots=True)
class Stage:
    """A directory, a home and an environment in which examples run."""

    boxlite: Boxlite
    work: Path
    environment: dict[str, str]
    values: dict[str, str]
    prepared: str = ""

    def prepare(self, example: Example) -> dict[str, str]:
        """Make what the example speaks of; its environment."""
        told = self.environment | {"EXAMPLE": example.text}
        env = dict(told)
        if example.path in OWN_HOME:
            env["BOXLITE_HOME"] = str(self.work / "own-home")
        path = example.path.removeprefix("image ")
        script = PREPARE.get(example.path, PREPARE.get(path, ""))
        if script != self.prepared:
            self.bash(PRELUDE + script.format_map(self.values), told)
        self.prepared = script if example.path in READERS else ""
        if " 3f9c2a" in example.text:
            self.bash("boxlite exec -d web sleep 100", env)
            self.values["exec_id"] = self.bash("boxlite top --format '{{.ID}}' web", env).stdout.split()[-1]
        if " 4f2c1a" in example.text:
            digest = self.bash("boxlite image inspect -f '{{.Id}}' alpine:3.20", env).stdout
            self.values["image_id"] = digest.removeprefix("sha256:")[:12]
        return env

    def line(self, example: Example) -> str:
        text = example.text
        for there, here in SUBSTITUTES.items():
            text = text.replace(there, here.format_map(self.values) if there in text else here)
        return text

    def bash(self, script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            env=env, cwd=self.work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip


@pytest.fixture(scope="module")
def stage(
    boxlite_of_module: Boxlite,
    registry: RunningRegistry,
    alpine_rootfs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    work = tmp_path_factory.mktemp("examples")
    rootfs = gzip.decompress(alpine_rootfs.read_bytes())
    for name, programs in PROGRAMS_IN_IMAGES.items():
        layers: list[Any] = [rootfs]
        if programs:
            layers.append([file(path, content, mode=0o755) for path, content in programs.items()])
        command = ["nginx"] if "usr/bin/nginx" in programs else ["/bin/sh"]
        image = build_image(layers, config={"Cmd": command, "Env": ALPINE_ENV})
        registry.push(f"library/{name.partition(':')[0]}", name.partition(":")[2], image)
    foreign = build_image([[folder("bin")]], architecture="arm64")
    registry.push("owner/image", "1", foreign)

    for name, script in {
        **PROGRAMS,
        "boxlite": f'exec {sys.executable} -m boxlite_cli "$@"',
    }.items():
        program = work / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    for name in ("src", "site", "rootfs/bin", ".zfunc", ".config/fish/completions", "logs"):
        (work / name).mkdir(parents=True)
    (work / "notes.txt").write_text("notes\n")
    (work / "site/index.html").write_text("hello\n")
    (work / "boxlite.yaml").write_text(
        f"image_registries:\n- host: docker.io\n  mirrors: [{registry.host}]\n"
    )
    (work / "rootfs.tar").write_bytes(rootfs)
    environment = boxlite_of_module.environment(
        PATH=f"{work}/bin:{os.environ['PATH']}",
        PYTHONPATH=str(ROOT),
        HOME=str(work),
        BOXLITE_CONFIG=str(work / "boxlite.yaml"),
        OPENAI_API_KEY="sk-none",
        TOKEN="secret",
        EDITOR="true",
    )
    values = {
        "registry": registry.host,
        "digest": foreign.digest,
        "port": str(free_port()),
        "work": str(work),
    }
    stage = Stage(boxlite_of_module, work, environment, values)
    made = stage.bash(
        "set -e; boxlite pull -q alpine:3.20; boxlite pull -q nginx; boxlite tag alpine:3.20 web:1;"
        " boxlite save -o images.tar web:1; gzip -k images.tar; boxlite volume create data",
        environment,
    )
    assert made.returncode == 0, made.stderr
    yield stage
    (work / "boxlite.yaml").unlink()


@pytest.mark.parametrize("example", examples(), ids=str)
def test_example_of_help_runs(stage: Stage, example: Example) -> None:
    env = stage.prepare(example)
    line = stage.line(example)
    answers, end = example.find(ON_A_TERMINAL), example.find(ENDLESS)
    if answers and " -f" not in example.text and "--dry-run" not in example.text:
        status, said = on_a_terminal(line, env, stage.work, answers)
    elif end:
        status, said = until_told(line, env, stage.work, end)
    else:
        done = stage.bash(line, env)
        status, said = done.returncode, done.stderr
    assert status in (0, MAY_FAIL.get(example.path, 0)), said
    assert "Error:" not in said and "Traceback" not in said, said


def on_a_terminal(
    line: str, env: dict[str, str], work: Path, answers: Sequence[tuple[str, str]]
) -> tuple[int, str]:
    """The status, and all that the terminal showed."""
    child = pexpect.spawn("bash", ["-c", line], env=env, cwd=str(work), timeout=PATIENCE_S, encoding="utf-8")
    child.delaybeforesend = 0.2  # a prompt for a password throws away what came before it
    shown = ""
    for awaited, typed in answers:
        child.expect_exact(awaited)
        shown += child.before or ""
        child.send(typed)
    child.expect(pexpect.EOF)
    shown += child.before or ""
    child.close()
    return child.exitstatus if child.exitstatus is not None else 128 + (child.signalstatus or 0), shown


def until_told(line: str, env: dict[str, str], work: Path, signum: signal.Signals) -> tuple[int, str]:
    """0 for a command that went on until the signal, which ended it; and what it said on stderr."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {line}"], env=env, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_until_it_waits(process)
        early = process.poll()
        process.send_signal(signum)
        _, said = process.communicate(timeout=20)
    ended = {signal.SIGINT: 128 + signal.SIGINT, signal.SIGKILL: -signal.SIGKILL}[signum]
    return (0 if early is None and process.returncode == ended else process.returncode or 1), said


def wait_until_it_waits(process: subprocess.Popen[str]) -> None:
    """Return when the command has printed something, waits for something to happen, or has ended."""
    deadline, waits, spent = time.monotonic() + PATIENCE_S, 0, ""
    while waits < 4 and process.poll() is None and time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 0.15)
        if readable:
            return
        state, *_, user_ticks, system_ticks = Path(f"/proc/{process.pid}/stat").read_text().split()[2:15]
        now = f"{state} {user_ticks} {system_ticks}"
        waits = waits + 1 if state == "S" and now == spent else 0
        spent = now


def test_tables_speak_of_examples_that_there_are() -> None:
    texts = [example.text for example in examples()]
    for table in (ON_A_TERMINAL, ENDLESS):
        assert not [start for start in table if not any(text.startswith(start) for text in texts)]
    assert not [there for there in SUBSTITUTES if not any(there in text for text in texts)]
    paths = {example.path for example in examples()}
    assert {*OWN_HOME, *MAY_FAIL} <= paths
