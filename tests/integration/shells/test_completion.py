"""Completion in the shells themselves: what a tab brings."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.layout import Layout
from engine.model import BoxStatus
from engine.store import BoxStore
from tests.framework.image_builder import build_image
from tests.framework.records import make_record
from tests.framework.shells import Shell, environment_of, fish_candidates
from tests.framework.stored import store_image

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home with three boxes, an image and a volume, and the program on the path."""
    directory = tmp_path_factory.mktemp("completion")
    program = directory / "bin/boxlite"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m boxlite_cli "$@"\n')
    program.chmod(0o755)
    layout = Layout(directory / "home")

    async def fill() -> None:
        async with BoxStore(layout) as store:
            for name, status in (
                ("idle_one", BoxStatus.STOPPED),
                ("webfront", BoxStatus.RUNNING),
                ("halted_one", BoxStatus.PAUSED),
            ):
                await store.insert(make_record(name, status=status))
        await store_image(layout, build_image([b"\0" * 1024]), name="localhost/tools:1")

    asyncio.run(fill())
    (layout.volumes_dir / "named/cache1").mkdir(parents=True)
    return environment_of(program, layout.home)


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Shell]:
    shell = Shell(request.param, environment)
    yield shell
    shell.close()


CASES = [
    ("boxlite sta", {"start", "stats"}, {"stop", "run"}),
    ("boxlite image hist", {"image history"}, set()),
    ("boxlite run --detach-k", {"--detach-keys"}, {"--debug"}),
    ("boxlite run --network ", {"enabled", "disabled"}, set()),
    ("boxlite kill -s US", {"USR1", "USR2"}, {"TERM"}),
    ("boxlite run --rm localhost/too", {"localhost/tools:1"}, set()),
    ("boxlite stop ", {"webfront", "halted_one"}, {"idle_one"}),
    ("boxlite start id", {"start idle_one"}, set()),
    ("boxlite unpause ", {"unpause halted_one"}, {"webfront"}),
    ("boxlite rm -f ", {"webfront", "halted_one", "idle_one"}, set()),
    ("boxlite exec -it web", {"exec -it webfront"}, set()),
    ("boxlite inspect loc", {"localhost/tools:1"}, set()),
    ("boxlite run -v cac", {"cache1:"}, set()),
    ("boxlite cp webf", {"cp webfront:"}, set()),
    ("boxlite cp LICEN", {"cp LICENSE"}, set()),
    ("boxlite run localhost/tools:1 LICEN", {"tools:1 LICENSE"}, set()),
    ("boxlite ls --format ", {"table", "json", "yaml"}, set()),
    ("boxlite stop --format ", {"json", "yaml"}, {"table"}),
    ("boxlite ps --no-t", {"--no-trunc"}, set()),
    ("boxlite help syst", {"help system"}, set()),
]


@pytest.mark.parametrize(("line", "offered", "withheld"), CASES, ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_tab_offers_what_fits(shell: Shell, line: str, offered: set[str], withheld: set[str]) -> None:
    shown = shell.complete(line)
    assert all(word in shown for word in offered), shown
    below = [line.partition(" -- ")[0].split() for line in shown.splitlines()[1:]]
    assert not withheld & {word for words in below for word in words}, shown


@pytest.mark.parametrize(("line", "offered", "withheld"), CASES, ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_fish_offers_what_fits(
    environment: dict[str, str], line: str, offered: set[str], withheld: set[str]
) -> None:
    found = set(fish_candidates(line, environment))
    words = {word.rpartition(" ")[2] for word in offered}
    assert words <= found
    assert not withheld & found


def test_shell_scripts_are_accepted_by_their_shells(environment: dict[str, str]) -> None:
    import shutil
    import subprocess

    for program, name in (("bash", "boxlite.bash"), ("zsh", "_boxlite"), ("fish", "boxlite.fish")):
        if shutil.which(program) is not None:
            subprocess.run([program, "-n", str(ROOT / "completions" / name)], check=True, env=environment)
