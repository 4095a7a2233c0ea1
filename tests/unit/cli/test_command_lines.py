"""Command lines as they are typed, right and wrong, against the real program."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from boxlite_cli.app import run
from boxlite_cli.catalog import ENTRIES
from engine.version import __version__

Program = Callable[..., subprocess.CompletedProcess[str]]

GOLDEN = Path(__file__).with_name("wrong_command_lines.txt")
"""Wrong command lines with everything they print and their status. `REWRITE_GOLDEN=1` writes it anew: then read it."""


def golden() -> dict[str, str]:
    """The part of the file for each line, by the line."""
    blocks = GOLDEN.read_text().strip().split("\n\n")
    return {block.partition("\n")[0].removeprefix("$ boxlite "): block for block in blocks}


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """What a command line prints, with its status. In this process: an interpreter for each would take half a minute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BOXLITE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def say(line: str) -> str:
        status = run(shlex.split(line))
        output, errors = capsys.readouterr()
        assert output in ("", "[]\n")
        return f"$ boxlite {line}\n{errors}[{status}]"

    return say


@pytest.mark.parametrize("line", golden())
def test_command_line_wrong_says_what_and_what_to_do(said: Callable[[str], str], line: str) -> None:
    text = said(line)
    if os.environ.get("REWRITE_GOLDEN"):
        blocks = {**golden(), line: text}
        GOLDEN.write_text("\n\n".join(blocks.values()) + "\n")
    assert text == golden()[line]
    message, *rest = text.splitlines()[1:-1]
    assert message.startswith("Error: ") and len(message) > 12
    assert any(row.startswith("Hint: ") for row in rest), "what is to be done?"


def test_command_line_wrong_ends_the_real_program_the_same_way(program: Program) -> None:
    for line in ("rnu alpine", "run -p 99999:80 alpine", "exec -t web sh", "inspect nope"):
        done = program(*shlex.split(line))
        assert f"$ boxlite {line}\n{done.stderr}[{done.returncode}]" == golden()[line]


def test_version_is_printed(program: Program) -> None:
    for words in (["--version"], ["-V"], ["--debug", "--version"]):
        done = program(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"boxlite {__version__}\n", "")


def test_version_formats(program: Program) -> None:
    assert program("version", "--format", "{{.Version}}").stdout == f"{__version__}\n"
    assert f'"Version": "{__version__}"' in program("version", "-f", "json").stdout
    assert program("version").stdout.startswith(f"Version: {__version__}\n")


def test_help_alone_lists_every_command_with_the_real_defaults(program: Program) -> None:
    done = program()
    assert done.returncode == 0
    for entry in ENTRIES:
        assert f"  {entry.name} " in done.stdout and entry.summary in done.stdout
    assert "1 cpu, 512 MiB of memory and a disk of up to 10 GiB" in done.stdout
    assert program("--help").stdout == done.stdout == program("help").stdout


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_help_of_a_command_agrees_with_the_catalog(program: Program, entry: object) -> None:
    from boxlite_cli.catalog import Entry

    assert isinstance(entry, Entry)
    command = importlib.import_module(f"boxlite_cli.commands.{entry.module}").COMMAND
    assert command.name == entry.name
    assert command.help.splitlines()[0].rstrip(".").partition(":")[0].startswith(entry.summary.rstrip("."))
    done = program("help", entry.name)
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: boxlite {entry.name}")


def test_help_short_flag_works_where_it_is_not_the_host_name(program: Program) -> None:
    assert program("stop", "-h").stdout == program("stop", "--help").stdout
    assert program("run", "-h").returncode == 2


def test_rm_all_does_not_ask_without_a_terminal(program: Program) -> None:
    done = program("rm", "-a")
    assert done.returncode in (0, 1, 2)


def test_closed_standard_streams_are_survived(program: Program) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *program("--version").args[:3], "version"], timeout=60
    )
    assert done.returncode in (0, 1)


def test_reader_who_stopped_gets_no_complaint(program: Program) -> None:
    line = [*program("--version").args[:3], "help", "run"]
    done = subprocess.run(
        ["bash", "-c", '"$@" | true; echo ${PIPESTATUS[0]}', "bash", *line],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() in ("0", "141") and done.stderr == ""
