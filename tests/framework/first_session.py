"""A new user's first session, typed into a terminal (tmux) as a person would type it, and the page that shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.framework.waiting import eventually

COLUMNS, ROWS = 100, 50
PATIENCE_S = 180
PROMPT = "$ "
HOME = "/home/ann"
SETTLED = {
    r"^[0-9A-Za-z]{12}$": "wJ3kq0ZbT1xy",
    r"\([0-9A-Za-z]{12}\)": "(wJ3kq0ZbT1xy)",
    r"\bby box [0-9A-Za-z]{12}\b": "by box wJ3kq0ZbT1xy",
    r"^[0-9a-f]{64}$": "0ab6253f9850ffdf5feb3e7df4d43bb6c8cd642d07f3ded530a4cf0a34ea4c9f",
    r"\d+ seconds? ago": "less than a second ago",
}
"""What stands on the page for ids and times."""


class Part(NamedTuple):
    """Command lines under a heading, with what is said before them."""

    heading: str
    text: str
    lines: Sequence[str]


DETAIL_AT = 29
DOCTOR = "boxlite system doctor"
SESSION = (
    Part(
        "Install",
        "A wheel, into an environment of its own. The guest system is built once, or is there already.",
        (
            "pip install --quiet --disable-pip-version-check boxlite-*.whl",
            "boxlite --version",
            "boxlite system setup",
        ),
    ),
    Part(
        "Can boxes run here?",
        "What follows each line (DETAIL: what was found and, where it is not ok, what to do) is another on each machine, and left"
        " out here.",
        (DOCTOR,),
    ),
    Part(
        "A first box",
        "Progress is shown while it lasts, and is gone afterwards: this is what is left on the screen.",
        (
            "boxlite run --rm alpine:3.20 uname -s",
            "echo hello | boxlite run --rm -i alpine:3.20 tr a-z A-Z",
            "boxlite run -d --name web -p 127.0.0.1::80 alpine:3.20 sleep 1000",
            "boxlite ls --format 'table {{.Names}}\\t{{.Image}}'",
            "boxlite exec web hostname",
        ),
    ),
    Part(
        "A word mistyped",
        "",
        (
            "boxlite rnu alpine:3.20",
            "boxlite run --memroy 1g alpine:3.20",
            "boxlite exec wbe ps",
            "boxlite inspect alpin:3.20",
        ),
    ),
    Part(
        "A value that cannot be",
        "",
        (
            "boxlite run --memory lots alpine:3.20",
            "boxlite run -p 80:99999 alpine:3.20",
            "boxlite run -v data:/data alpine:3.20",
            "boxlite run --gpus all alpine:3.20",
        ),
    ),
    Part(
        "Something that is not there, or there already",
        "",
        (
            "boxlite run --pull never alpine:3.99",
            "boxlite run --rm --name tool alpine:3.20 bsh; echo $?",
            "boxlite run -d --name web alpine:3.20 sleep 1000",
            "boxlite load images.tar",
        ),
    ),
    Part(
        "Not now",
        "",
        (
            "boxlite rm web",
            "boxlite stop -t 0 web",
            "boxlite port web",
            "boxlite why web | head -3",
            "boxlite rm --format '{{.Name}} is gone' web",
        ),
    ),
)
INTRODUCTION = """\
# A first session

What a terminal shows somebody who has never used BoxLite: typed and recorded by `tests/vm/test_package.py`, which compares the
page with what the program says now.
"""


class Terminal:
    """A shell in tmux, in which one line after the other is typed."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed")
        self.directory = directory
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        self._env = dict(environment)
        (directory / "profile").write_text(
            f"PS1='{PROMPT}'; PROMPT_COMMAND='tmux -S {directory}/tmux wait-for -S ready'\n"
        )
        shell = f"exec bash --noprofile --rcfile {directory}/profile -i"
        self._do("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(directory), shell)
        self._do("set-option", "-g", "history-limit", "5000")
        self._wait()

    def type(self, line: str) -> str:
        """What stands on the screen from the line on, until the shell asks for the next."""
        self._do("send-keys", "-R")
        self._do("clear-history")
        self._do("send-keys", "-l", line)
        self._do("send-keys", "Enter")
        self._wait()
        shown = self._do("capture-pane", "-p", "-S", "-1000").rstrip().removesuffix(PROMPT.rstrip()).rstrip()
        return shown[shown.index(line[:40]) :]

    def close(self) -> None:
        self._do("kill-server")

    def _wait(self) -> None:
        """Until the prompt is there: what is typed before it would be shown twice."""
        self._do("wait-for", "ready")
        eventually(
            lambda: (
                self._do("capture-pane", "-p").rstrip().endswith(f"\n{PROMPT}".rstrip(" "))
                or self._do("capture-pane", "-p").strip() == PROMPT.strip()
            ),
            within_s=PATIENCE_S,
            every_s=0.05,
        )

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        return done.stdout


def record(terminal: Terminal) -> str:
    """The page, with what stands on the screen now."""
    blocks = [INTRODUCTION]
    for part in SESSION:
        screens = [PROMPT + terminal.type(line) for line in part.lines]
        shown = "\n".join(_settled(screen, terminal.directory) for screen in screens)
        indented = "\n".join(f"    {line}".rstrip() for line in shown.splitlines())
        blocks.append("\n\n".join(filter(None, (f"## {part.heading}", part.text, indented))) + "\n")
    return "\n".join(blocks)


def comparable(page: str) -> str:
    """The page without what the doctor says of a machine."""
    return re.sub(rf"(?m)(^    \$ {DOCTOR}\n)(    (?!\$ ).*\n)*", r"\1", page)


def _settled(screen: str, directory: Path) -> str:
    """Without what is another each time."""
    text = screen.replace(str(directory), HOME)
    if text.startswith(PROMPT + DOCTOR):
        first, *rows = text.splitlines()
        return "\n".join([first, *(row[:DETAIL_AT].rstrip() for row in rows if row[:1].strip())])
    for pattern, settled in SETTLED.items():
        text = re.sub(pattern, settled, text, flags=re.MULTILINE)
    return text
