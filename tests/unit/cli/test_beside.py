"""Two processes share a pull: one reads the command line, the other loads the engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
START = """
import os, sys
from boxlite_cli import beside
outcome = beside.await_order(sys.argv[1:])
is_reader = bool(beside._readers_end)
"""
ORDER = """
from boxlite_cli.pulling import PullOrder
from boxlite_cli.settings import Settings
from engine.model import PullPolicy
order = PullOrder(settings=Settings(debug=True), reference="alpine", quiet=True, platform=None,
                  policy=PullPolicy.MISSING, format_word=None)
"""

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="wants two processors")


def outcome_of(script: str, *words: str) -> str:
    """What the process that was started prints, once it knows more."""
    environment = {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", START + script, *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd="/", timeout=60)
    assert not done.stderr
    return done.stdout.strip()


def test_order_handed_over_arrives_as_it_was() -> None:
    script = f"{ORDER}\nif is_reader: beside.hand_over(order)\nprint(outcome == order)"
    assert outcome_of(script, "pull", "alpine") == "True"


@pytest.mark.parametrize("status", [0, 2])
def test_reader_that_ends_without_an_order_gives_its_status(status: int) -> None:
    assert outcome_of(f"if is_reader: os._exit({status})\nprint(outcome)", "pull", "--wrong") == str(status)


def test_reader_that_is_killed_leaves_the_reading_to_the_other() -> None:
    assert outcome_of("if is_reader: os.kill(os.getpid(), 9)\nprint(outcome)", "pull", "alpine") == "None"


@pytest.mark.parametrize(
    "words",
    [("ls",), ("image", "pull", "alpine"), ("pull", "--help"), ("--registry", "host", "pull", "a"), ()],
)
def test_command_line_of_another_kind_is_read_by_the_one_process(words: tuple[str, ...]) -> None:
    assert outcome_of("print(outcome, is_reader)", *words) == "None False"


def test_single_processor_reads_by_itself() -> None:
    script = START.replace("outcome =", "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\noutcome =")
    argv = [sys.executable, "-c", f"{script}\nprint(outcome, is_reader)", "pull", "alpine"]
    done = subprocess.run(argv, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, timeout=60)
    assert done.stdout.strip() == "None False"


def test_order_for_nobody_is_carried_out_where_it_was_read() -> None:
    assert outcome_of(f"{ORDER}\nbeside.hand_over(order)\nprint('here')", "ls") == "here"


def test_reader_whose_waiting_process_was_killed_ends_without_a_word() -> None:
    script = f"""{ORDER}
if not is_reader: sys.exit("nobody reads for us")
started = os.getppid()
os.kill(started, {signal.SIGKILL})
while os.getppid() == started: pass
beside.hand_over(order)
print("nobody was there")
"""
    argv = [sys.executable, "-c", START + script, "pull", "alpine"]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert process.communicate(timeout=60) == ("", "")  # and so the reader has ended, too
    assert process.returncode == -signal.SIGKILL
