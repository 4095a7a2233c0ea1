"""Which command lines leave the kind of machine alone, told before the command line is parsed."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from boxlite_cli import early
from engine.shim.usual import CARD, NONE, PORT


@pytest.mark.parametrize(
    "line",
    [
        "alpine",
        "--rm alpine true",
        "-it --rm alpine sh -c ls",
        "-e A=--cpus --name --memory alpine",
        "-p8080:80 -d nginx",
        "--entrypoint=sh alpine -m x -v y",
        "--rm -- alpine --cpus 2",
    ],
)
def test_usual_machine_line_that_asks_for_no_other_gets_it(line: str) -> None:
    assert early.usual_link(iter(line.split())) == CARD


@pytest.mark.parametrize(
    ("line", "link"),
    [
        ("--network disabled alpine", NONE),
        ("--rm --net=none alpine", NONE),
        ("--network none --network bridge alpine", CARD),
        ("--network enabled alpine --network none", CARD),
        ("--allow-net example.com --rm alpine true", PORT),
        ("--rm --deny-net=example.com alpine", PORT),
        ("-it --secret KEY,host=x --name --network alpine", PORT),
        ("--allow-net a.example --network=disabled alpine", NONE),
    ],
)
def test_usual_machine_is_connected_as_the_line_asks(line: str, link: str) -> None:
    assert early.usual_link(iter(line.split())) == link


@pytest.mark.parametrize(
    "line",
    [
        "--cpus 2 alpine",
        "--memory=1g alpine",
        "--allow-net example.com --cpus 2 alpine",
        "--rm -e A=B -m 256 alpine",
        "-itv /a:/b alpine",
        "--name x --cold-boot alpine",
        "--rm",
    ],
)
def test_usual_machine_line_that_asks_for_another_does_not_get_it(line: str) -> None:
    assert early.usual_link(iter(line.split())) is None


@pytest.mark.parametrize(
    ("line", "home", "command"),
    [
        ("run --rm alpine", None, "run"),
        ("--home /h run alpine", "/h", "run"),
        ("--debug --home=/h start box", "/h", "start"),
        ("--config /c run alpine", None, None),
        ("--home", None, None),
    ],
)
def test_split_command_finds_it_behind_options(line: str, home: str | None, command: str | None) -> None:
    assert early.split_command(iter(line.split())) == (home, command)


@pytest.mark.parametrize("command", ["run", "start"])
def test_switches_are_the_flags_without_a_value_of_the_commands(command: str) -> None:
    params = importlib.import_module(f"boxlite_cli.commands.{command}").COMMAND.params
    options = [param for param in params if param.param_type_name == "option"]
    for option in options:
        for flag in (*option.opts, *option.secondary_opts):
            assert (flag in early.SWITCHES) == bool(option.is_flag), flag


def test_usual_machine_is_not_for_who_has_configured_another(tmp_path: Path) -> None:
    file = tmp_path / "boxlite/config.yaml"
    file.parent.mkdir()
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert not early.is_configured(environment)
    file.write_text("aliases: {ll: ls -a}\n")
    assert not early.is_configured(environment)
    file.write_text("defaults: {run: {memory: 1g}}\n")
    assert early.is_configured(environment)
    assert early.is_configured({"BOXLITE_CONFIG": "/x"})


def test_what_starts_the_usual_machine_loads_next_to_nothing() -> None:
    """The machine waits for it."""
    code = (
        "import sys, boxlite_cli.early, engine.shim.forking, engine.shim.usual\n"
        "print(*sorted({'re', 'typing', 'contextlib', 'json', 'pathlib', 'subprocess', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
