"""The programs of `examples/`, run as people run them; but the image of these tests is Alpine, which has no Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import boxlite as library
from tests.framework.cli import Boxlite

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
ECHO = ("sh", "-c", 'while read line; do [ "$line" = \'"hang"\' ] && sleep 60; echo "$line"; done')
"""An interpreter whose snippets print themselves, and one of which never ends."""


def run(boxlite: Boxlite, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *args],
        env={**boxlite.environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_every_example_is_tested_and_listed() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    here, listed = Path(__file__).read_text(), (EXAMPLES / "README.md").read_text()
    assert not [name for name in programs if f"[{name}]" not in listed]
    assert not [name for name in programs if name not in here and name.removesuffix(".py") not in here]


def test_agent_loop_answers_with_what_the_tools_found(boxlite: Boxlite, alpine: str) -> None:
    done = run(boxlite, "agent_loop.py", alpine)
    assert done.returncode == 0, done.stderr
    assert "[exit status 2]" in done.stdout and done.stdout.endswith("The sum is 6.\n")


def test_parallel_workers_tell_each_outcome(boxlite: Boxlite, alpine: str) -> None:
    done = run(boxlite, "parallel_workers.py", alpine, "3")
    assert done.returncode == 0, done.stderr
    assert [line.rpartition(": ")[2] for line in done.stdout.splitlines()] == [
        "42", "fine", "failed with status 3", "took too long",
    ]  # fmt: skip


def test_ci_step_shows_its_output_keeps_its_cache_and_copies_the_result(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("a\n")
    for build in ("build 1", "build 2"):
        done = run(boxlite, "ci_step.py", alpine, str(source), str(tmp_path / "artifact"))
        assert (done.returncode, done.stdout) == (0, f"1 files\n{build}\n"), done.stderr
    assert (tmp_path / "artifact").read_text() == "a\n"


async def test_tools_tell_the_model_what_went_wrong(
    boxlite: Boxlite, alpine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from code_interpreter import Interpreter
    from tools import BoxTools, as_functions, as_input_schemas, as_protocol_tools

    async with (
        library.Boxlite(library.Options(home_dir=boxlite.home)) as runtime,
        library.SimpleBox(alpine, runtime=runtime) as box,
    ):
        tools = BoxTools(box, timeout=1)
        assert len(as_functions(tools)) == len(as_input_schemas(tools)) == len(as_protocol_tools(tools)) == 3
        assert await tools.call("write_file", {"path": "/tmp/x", "text": "text"}) == "4 bytes written"
        assert await tools.call("read_file", '{"path": "/tmp/x"}') == "text"
        assert "/nonesuch" in await tools.call("read_file", '{"path": "/nonesuch"}')
        assert "longer than 1 s" in await tools.call("run_shell", '{"command": "sleep 60"}')
        assert "left out" in await tools.call("run_shell", '{"command": "seq 9999"}')
        for wrong in ("{", "[]", "{}"):
            assert "arguments" in await tools.call("run_shell", wrong)
        assert "no tool" in await tools.call("fly", "{}")
        async with Interpreter(box, ECHO) as interpreter:
            assert await interpreter.run("one") == "one"
            with pytest.raises(TimeoutError):
                await interpreter.run("hang", timeout=0.5)
            assert await interpreter.run("two") == "two"
        assert (await box.exec("sh", "-c", "ps | grep -c '[s]leep'")).stdout == "0\n"
