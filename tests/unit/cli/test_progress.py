"""How progress looks on a terminal, in a pipe, and with -q."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import time
from boxlite_cli.progress import progress_display
from engine.progress import Progress

with progress_display(quiet={quiet}) as display:
    for done, message in ((0, ""), (2_000_000, ""), (4_000_000, "pulled")):
        display.show(
            Progress(stage="layer", item="sha256:0123456789abcdef", done=done, total=4_000_000, message=message)
        )
        time.sleep(0.2)
    display.show(Progress(stage="template", message="starting a machine once"))
    display.show(Progress(stage="start", message="never worth a word"))
    display.close()
    display.show(Progress(stage="base", message="too late"))
print("done")
"""
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm"}


def run(quiet: bool) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(quiet=quiet)
    return subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_progress_in_a_pipe_is_one_line_a_stage() -> None:
    done = run(quiet=False)
    assert done.stdout == "done\n"
    assert done.stderr == "0123456789ab: pulled, 3.81 MiB\nstarting a machine once\n"


def test_progress_when_quiet_is_nothing() -> None:
    assert run(quiet=True).stderr == ""


def test_progress_on_a_terminal_is_live_and_gone_when_done() -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-c", PROGRAM.format(quiet=False)],
        env=ENVIRONMENT,
        timeout=30,
        encoding="utf-8",
        dimensions=(24, 100),
    )
    child.expect_exact("0123456789ab: pulling")
    child.expect_exact("1.91 MiB of 3.81 MiB")
    child.expect_exact("starting a machine once")
    child.expect_exact("\x1b[2K")
    child.expect_exact("done")
    child.expect(pexpect.EOF)
    assert "too late" not in (child.before or "")
    child.close()
    assert child.exitstatus == 0
