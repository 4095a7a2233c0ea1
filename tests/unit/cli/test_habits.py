"""Docker's and Podman's flags: known here, or answered with what to use instead."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from boxlite_cli.habits import FLAGS
from boxlite_cli.pages.peers import DOCKER, OTHER_NAMES, PODMAN, flags
from boxlite_cli.pages.tree import Page, read_tree

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {" ".join(page.path): page for page in read_tree().walk()}


def own_flags(page: Page) -> set[str]:
    return {name for option in page.options for name in (*option.names, *option.off_names)}


@pytest.mark.parametrize("peer", [DOCKER, PODMAN], ids=["docker", "podman"])
def test_every_flag_of_a_peer_is_known_or_has_a_hint(pages: dict[str, Page], peer: dict[str, str]) -> None:
    for command, text in peer.items():
        known = own_flags(pages[command])
        lost = [name for name in flags(text) if name not in known and name not in FLAGS.get(command, {})]
        assert not lost, command


@pytest.mark.parametrize("peer", [DOCKER], ids=["docker"])
def test_short_names_mean_what_they_mean_in_docker(pages: dict[str, Page], peer: dict[str, str]) -> None:
    for command, text in peer.items():
        by_long = {name: set(option.names) for option in pages[command].options for name in option.names}
        wrong = [
            f"{command} {name}"
            for name, short in flags(text).items()
            if short and name in by_long and short not in by_long[name]
        ]
        assert not wrong


def test_flags_of_podman_are_those_of_the_installed_one() -> None:
    podman = shutil.which("podman")
    if podman is None:
        pytest.skip("podman is not installed")
    for command, text in PODMAN.items():
        name = OTHER_NAMES.get(command, command)
        shown = subprocess.run(
            [podman, name, "--help"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        found = set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", shown, re.MULTILINE)) - {"--help"}
        assert found - flags(text).keys() == set(), command


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["build", "."], "docker save"),
        (["container", "ls"], "leave it out"),
        (["compose", "up"], "boxlite run"),
        (["run", "--gpus", "all", "alpine"], "no GPU"),
        (["run", "--volumes-from", "x", "alpine"], "the same -v again"),
        (["stop", "--all"], "boxlite ls -q"),
        (["pull", "--tls-verify=false", "alpine"], "skip_verify"),
    ],
)
def test_habit_of_docker_is_answered_with_what_to_use_instead(
    program: Program, words: list[str], hint: str
) -> None:
    done = program(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert hint in done.stderr.splitlines()[-1]
