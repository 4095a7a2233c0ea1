"""`cp` of every kind of source to every kind of destination, into a box and out of it, in one box for all rows."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.fixtures import Podman
from boxlite_cli.commands.cp import _copy, parse_place
from engine.errors import BoxliteError
from engine.runtime import Runtime
from engine.runtime.copy_rules import CopyOptions
from tests.framework.cli import Boxlite
from tests.framework.cp_table import ROWS, SOURCE, TARGET, Row, Tree, make_tree, read_tar, read_tree

BOX = "table"
Outcome = tuple[Tree, str]


def options_of(row: Row) -> CopyOptions:
    return CopyOptions(
        follow_link="-L" in row.options,
        overwrite="--no-overwrite" not in row.options,
        include_parent="--no-include-parent" not in row.options,
    )


async def copy_all(home: Path, work: Path) -> dict[str, Outcome]:
    """Do every row both ways; what each target is afterwards, and what was said."""
    said: dict[str, str] = {}
    async with Runtime(home) as runtime:
        await runtime.copy_in(BOX, str(work / "in") + "/.", "/t")
        for row in ROWS:
            for name, source, target in (
                (f"in-{row.name}", f"{work}/s/{row.source}", f"{BOX}:/t/{row.name}/{row.target}"),
                (f"out-{row.name}", f"{BOX}:/t/s/{row.source}", f"{work}/out/{row.name}/{row.target}"),
            ):
                try:
                    await _copy(runtime, parse_place(source), parse_place(target), options_of(row))
                    said[name] = ""
                except BoxliteError as error:
                    said[name] = str(error)
        everything = io.BytesIO()
        await runtime.copy_tar_out(BOX, "/t", everything)
    inside = read_tar(everything.getvalue())
    found: dict[str, Outcome] = {}
    for row in ROWS:
        prefix = f"{row.name}/"
        tree = {path.removeprefix(prefix): what for path, what in inside.items() if path.startswith(prefix)}
        found[f"in-{row.name}"] = tree, said[f"in-{row.name}"]
        found[f"out-{row.name}"] = read_tree(work / "out" / row.name), said[f"out-{row.name}"]
    return found


def prepare(work: Path) -> None:
    make_tree(SOURCE, work / "s")
    make_tree(SOURCE, work / "in" / "s")
    for row in ROWS:
        make_tree(TARGET, work / "in" / row.name)
        make_tree(TARGET, work / "out" / row.name)


@pytest.fixture(scope="module")
def outcomes(
    boxlite_of_module: Boxlite, alpine: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    work = tmp_path_factory.mktemp("table")
    prepare(work)
    boxlite_of_module("run", "-d", "--name", BOX, alpine, "sleep", "900", check=True)
    return asyncio.run(asyncio.wait_for(copy_all(boxlite_of_module.home, work), 600))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("way", ["in", "out"])
def test_cp_follows_the_table(outcomes: dict[str, Outcome], way: str, row: Row) -> None:
    tree, said = outcomes[f"{way}-{row.name}"]
    if row.error:
        assert re.search(row.error, said), said
        return
    changes: Any = row.out if way == "out" and row.out is not None else row.becomes
    assert said == ""
    assert tree == TARGET | changes


@pytest.fixture
def podman() -> Iterator[Podman]:
    with tempfile.TemporaryDirectory(prefix="bl-", dir="/tmp") as short:  # it takes no longer path
        podman = Podman(Path(short))
        yield podman
        podman.close()


def test_cp_table_names_every_difference_from_podman(tmp_path: Path, alpine: str, podman: Podman) -> None:
    if problem := podman.problem(alpine):
        pytest.skip(problem)

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(podman.argv(*words), capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    prepare(tmp_path)
    rows = [row for row in ROWS if not row.options]
    failed: set[tuple[str, str]] = set()
    assert run("run", "-d", "--name", "theirs", "--network=none", alpine, "sleep", "900").returncode == 0
    run("exec", "theirs", "mkdir", "/t")
    run("cp", f"{tmp_path}/in/.", "theirs:/t")
    for row in rows:
        into = run("cp", f"{tmp_path}/s/{row.source}", f"theirs:/t/{row.name}/{row.target}")
        out = run("cp", f"theirs:/t/s/{row.source}", f"{tmp_path}/out/{row.name}/{row.target}")
        failed |= {(way, row.name) for way, done in (("in", into), ("out", out)) if done.returncode}
    inside = read_tar(run("cp", "theirs:/t", "-").stdout)
    differing = set()
    for row in rows:
        prefix = f"{row.name}/"
        trees = {
            "in": {
                path.removeprefix(prefix): what for path, what in inside.items() if path.startswith(prefix)
            },
            "out": read_tree(tmp_path / "out" / row.name),
        }
        for way, tree in trees.items():
            changes: Any = row.out if way == "out" and row.out is not None else row.becomes
            has_failed = (way, row.name) in failed
            if has_failed != bool(row.error) or not (row.error or tree == TARGET | changes):
                differing.add(row.name)
    assert differing == {row.name for row in rows if row.docker}
