"""What a command costs before it does anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from boxlite_cli.app import WITHOUT_ASYNCIO

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {
    "aiosqlite", "click", "google", "grpc", "jinja2", "msgspec", "oras", "pydantic", "requests", "rich", "tarfile",
    "yaml", "zstandard",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{statement}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
        cwd="/",
    )
    return set(done.stdout.splitlines()[-1].split())


def test_startup_of_the_app_loads_nothing_heavy() -> None:
    loaded = loaded_by("import boxlite_cli.app")
    assert not loaded & (HEAVY | {"asyncio", "engine.runtime"})
    assert not [name for name in loaded if name.startswith("boxlite_cli.commands.")]


@pytest.mark.parametrize("module", ["run", "exec", "create", "ls", "start", "stop", "logs", "inspect"])
def test_startup_of_a_command_loads_nothing_heavy(module: str) -> None:
    assert not loaded_by(f"import boxlite_cli.app, boxlite_cli.commands.{module}") & HEAVY


def test_startup_parsing_a_command_line_loads_no_pydantic() -> None:
    statement = """
from boxlite_cli.app import build_root
root = build_root()
with root.make_context('boxlite', ['--home', '/x', 'run']) as ctx:
    command = root.get_command(ctx, 'run')
    command.make_context('run', ['--rm', '-e', 'A=1', '--cpus', '2', 'alpine', 'true'], parent=ctx)
"""
    assert not loaded_by(statement) & HEAVY


def test_startup_of_version_loads_almost_nothing() -> None:
    statement = "sys.argv = ['boxlite', '--version']\nimport boxlite_cli.__main__ as m\ntry: m.main()\nexcept SystemExit: pass"
    assert not loaded_by(statement) & (HEAVY | {"typer", "boxlite_cli.app", "engine.model"})


@pytest.mark.parametrize("name", ["run", "exec", "ls", "cp", "top", "stats", "stop", *WITHOUT_ASYNCIO])
def test_startup_of_a_command_loads_asyncio_without_openssl_or_not_at_all(name: str) -> None:
    loaded = loaded_by(
        f"import boxlite_cli.app as a; a.RootGroup(name='boxlite').get_command(None, {name!r})"
    )
    assert "ssl" not in loaded
    assert ("asyncio" not in loaded) == (name in WITHOUT_ASYNCIO)


def test_startup_of_a_pull_loads_no_options_of_boxes() -> None:
    loaded = loaded_by(
        "import boxlite_cli.app, boxlite_cli.commands.pull, engine.images.registry, engine.disks.build"
    )
    assert not loaded & (HEAVY | {"boxlite_cli.option_groups"})


def test_startup_of_a_pull_loads_no_engine_to_read_and_no_parser_to_do() -> None:
    """Two processes share it: boxlite_cli.beside."""
    reads = loaded_by("import boxlite_cli.app, boxlite_cli.commands.pull")
    assert not reads & {"asyncio", "ssl", "engine.runtime", "sqlite3"}
    does = loaded_by(
        "import importlib, boxlite_cli.pulling as p; [importlib.import_module(one) for one in p.ENGINE]"
    )
    assert not does & ((HEAVY - {"aiosqlite"}) | {"typer", "engine.model.box", "engine.store.boxes"})


def test_startup_that_is_interrupted_ends_without_a_word(tmp_path: Path) -> None:
    """While the program is being loaded nothing was done that would have to be told of."""
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-m", "boxlite_cli", "info"],
            env={"PYTHONPATH": str(ROOT), "BOXLITE_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        was_caught = False
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            caught = bool(int(status.partition("SigCgt:")[2].split()[0], 16) & 1 << (signal.SIGINT - 1))
            if "State:\tZ" in status:
                break
            if was_caught and not caught:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=60)
                assert (process.returncode, said) == (-signal.SIGINT, "")
                return
            was_caught = caught
        process.communicate()
    raise AssertionError("the program was always too fast")
