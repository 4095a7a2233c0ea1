"""Command lines as they are typed, right and wrong, against the real program."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable

import pytest

from boxlite_cli.catalog import ENTRIES
from engine.version import __version__

Program = Callable[..., subprocess.CompletedProcess[str]]

WRONG = [
    (["rnu", "alpine"], 2, "there is no command 'rnu'; did you mean run?"),
    (["xyzzy"], 2, "there is no command 'xyzzy'"),
    (["--hom", "x", "ls"], 2, "there is no option --hom; did you mean --home?"),
    (["-x"], 2, "there is no option -x"),
    (["run"], 2, "no image given"),
    (["run", "--nmae", "x", "alpine"], 2, "did you mean --name"),
    (["run", "-p"], 2, "option '-p' requires an argument"),
    (["run", "-p", "99999:80", "alpine"], 2, "published port '99999:80'"),
    (["run", "-m", "lots", "alpine"], 2, "size 'lots'"),
    (["run", "-m", "8", "alpine"], 2, "memory must be between"),
    (["run", "--cpus", "none", "alpine"], 2, "cpus 'none'"),
    (["run", "-e", "=x", "alpine"], 2, "environment variable '=x'"),
    (["run", "--env-file", "/nope", "alpine"], 2, "environment file /nope cannot be read"),
    (["run", "-v", "/nope:/x", "alpine"], 2, "volume host path /nope"),
    (["run", "-v", "data", "alpine"], 2, "volume 'data'"),
    (["run", "--restart", "often", "alpine"], 2, "restart policy 'often'"),
    (["run", "--rm", "--restart", "always", "alpine"], 2, "--rm cannot be combined with --restart"),
    (["run", "--rm", "--auto-delete", "1h", "alpine"], 2, "--rm cannot be combined with --auto-stop"),
    (["run", "--network", "host", "alpine"], 2, "host's network"),
    (["run", "--security", "tight", "alpine"], 2, "security preset 'tight'"),
    (["run", "--pull", "often", "alpine"], 2, "pull is always, missing or never"),
    (["run", "--timeout", "soon", "alpine"], 2, "duration 'soon'"),
    (["run", "--stop-signal", "FOO", "alpine"], 2, "signal 'FOO'"),
    (["run", "--detach-keys", "ctrl-1", "alpine"], 2, "detach key 'ctrl-1'"),
    (["run", "-t", "alpine"], 1, "the input device is not a TTY."),
    (["run", "-t", "-d", "alpine"], 1, "the input device is not a TTY."),
    (["create", "-d", "alpine"], 2, "there is no option -d"),
    (["create", "--rm", "alpine"], 2, "there is no option --rm"),
    (["exec"], 2, "missing argument 'BOX'"),
    (["exec", "web"], 2, "missing argument 'COMMAND…'"),
    (["exec", "web", "--"], 2, "no command given"),
    (["exec", "-t", "web", "sh"], 1, "the input device is not a TTY."),
    (["start"], 2, "missing argument 'BOX…'"),
    (["start", "-a", "web", "db"], 2, "only one box"),
    (["stop", "-t", "x", "web"], 2, "duration 'x'"),
    (["kill", "-s", "FOO", "web"], 2, "signal 'FOO'"),
    (["rm"], 2, "name boxes, or all of them with -a"),
    (["rm", "-a", "web"], 2, "name boxes, or all of them with -a"),
    (["rename", "web"], 2, "missing argument 'NEW_NAME'"),
    (["ls", "web"], 2, "unexpected extra argument"),
    (["ls", "-q", "--format", "json"], 2, "-q cannot be combined with --format"),
    (["ls", "--format", "xml"], 2, "format 'xml'"),
    (["ls", "--sort", "colour"], 2, "sort 'colour'"),
    (["ls", "--filter", "colour=red"], 2, "filter 'colour=red'"),
    (["ls", "-n", "0"], 2, "last must be 1 or more"),
    (["inspect"], 2, "name something to inspect"),
    (["inspect", "-l", "web"], 2, "name something to inspect"),
    (["inspect", "--format", "table", "web"], 2, "format 'table'"),
    (["inspect", "--type", "disk", "web"], 2, "type is box or image"),
    (["logs", "--since", "xx", "web"], 2, "time 'xx'"),
    (["logs", "-n", "-1", "web"], 2, "tail must be 0 or more"),
    (["pull"], 2, "missing argument 'IMAGE'"),
    (["pull", "--policy", "often", "alpine"], 2, "policy is always, missing or never"),
    (["load", "/nope.tar"], 2, "the archive /nope.tar"),
    (["load", "-i", "x.tar", "y.tar"], 2, "give the archive once"),
    (["save"], 2, "missing argument 'IMAGE…'"),
    (["save", "--format", "zip", "x"], 2, "format is docker or oci"),
    (["save", "--compress", "xz", "x"], 2, "compress is none, gzip or zstd"),
    (["tag", "alpine"], 2, "missing argument 'NAME[:TAG]'"),
    (["rmi"], 2, "missing argument 'IMAGE…'"),
    (["login", "--username", "x"], 2, "there is nobody to ask"),
    (["images", "--filter", "size=1"], 2, "filter 'size=1'"),
    (["images", "--filter", "dangling=maybe"], 2, "dangling is true or false"),
    (["image", "prun"], 2, "there is no command 'prun'; did you mean prune?"),
    (["image", "prune", "--filter", "before=x"], 2, "filter 'before=x'"),
    (["import", "/nope.tar", "localhost/x"], 2, "the archive /nope.tar"),
    (["import", "-c", "COPY x", "-", "localhost/x"], 2, "cannot be applied to an import"),
    (["version", "--format", "table"], 2, "format 'table'"),
    (["version", "--format", "{{.Nope}}"], 2, "unknown field .Nope"),
    (["system", "doctr"], 2, "there is no command 'doctr'; did you mean doctor?"),
    (["help", "nope"], 2, "there is no command 'nope'"),
    (["help", "run", "more"], 2, "has no command 'more' below it"),
    (["--config", "/nope", "ls"], 1, "/nope cannot be read"),
    (["ls", "--config", "/nope"], 1, "/nope cannot be read"),
    (["run", "--config", "/nope", "alpine"], 125, "/nope cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status", "complaint"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")  # fmt: skip
def test_command_line_wrong_says_what_on_stderr(
    program: Program, words: list[str], status: int, complaint: str
) -> None:
    done = program(*words)
    first, *rest = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (status, "")
    assert first.startswith("Error: ") and complaint in first
    assert all(line.startswith(("Hint: ", "Cause: ")) for line in rest) and len(rest) <= 2


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
