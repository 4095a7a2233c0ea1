"""Real shells on real terminals, asked to complete a line."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = {
    "bash": (
        "bash --norc --noprofile",
        "bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; bind 'set completion-query-items 0';"
        " bind 'set page-completions off'; source completions/boxlite.bash",
    ),
    "zsh": (
        "zsh -f",
        "fpath=($PWD/completions $fpath); autoload -Uz compinit; compinit -u -D; unsetopt zle_bracketed_paste list_beep;"
        " setopt no_list_ambiguous; LISTMAX=1000; zstyle ':completion:*' list-prompt ''; stty cols 240",
    ),
}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][0-9A-B]?|\x07")


class Shell:
    """bash or zsh on a terminal: `complete` types a line and two tabs and returns what the screen then says."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        command, setup = SETUP[name]
        self._child = pexpect.spawn(
            command, env=dict(environment), cwd=str(ROOT), encoding="utf-8", dimensions=(60, 240), timeout=20
        )
        self._child.delaybeforesend = None
        self._child.sendline("PS1='ready''> '; PROMPT=$PS1")
        self._child.expect("ready> ")
        self._child.sendline(f"{setup}; echo set''up")
        self._child.expect("setup\r?\n")
        self._child.expect("ready> ")

    def complete(self, line: str) -> str:
        """What is shown for `line` and a tab: the line itself, gone on with, and the candidates below it."""
        self._child.send(line)
        self._child.expect_exact(line[-8:])
        self._child.send("\t")
        self._child.send("\x05 :done:")  # to the end of the line; shown once the tab was dealt with
        self._child.expect_exact(":done:")
        shown = line + _ESCAPES.sub("", self._child.before or "")
        self._child.send("\x15")
        self._child.sendline("echo next''line")
        self._child.expect("nextline\r?\n")
        self._child.expect("ready> ")
        return shown

    def close(self) -> None:
        self._child.close(force=True)


def fish_candidates(line: str, environment: Mapping[str, str]) -> Sequence[str]:
    """What fish offers for a line."""
    import subprocess

    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    done = subprocess.run(
        ["fish", "--no-config", "-c", "source completions/boxlite.fish; complete -C $argv[1]", line],
        env=dict(environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert not done.stderr
    return [row.partition("\t")[0] for row in done.stdout.splitlines()]


def environment_of(program: Path, home: Path) -> dict[str, str]:
    """A small environment with our program first on the path."""
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(home.parent),
        "BOXLITE_HOME": str(home),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }
