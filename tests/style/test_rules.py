"""Rules of the house that a linter does not know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("boxlite", "boxlite_cli", "engine", "guest")
MAX_LINES = 500
ALLOWED_LINES: dict[str, int] = {}
"""The vocabulary is one list of values: longer than a module should be, and not to grow further."""
MAX_FUNCTION_LINES = 80
STARTS_PROCESSES = frozenset(
    f"{name}.py"
    for name in (
        "engine/process",
        "engine/shim/spawn",
        "engine/shim/forking",
        "engine/shim/usual",
        "boxlite_cli/beside",
    )
)
"""The second starts the shim and the third its usual machine, before any event loop and with nothing inherited; the last one
becomes two before it has read its command line."""
READS_ENVIRONMENT = frozenset({"engine/host/environment.py"})
PROCESS_CALLS = frozenset(
    {"os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp",
     "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"}
    | {f"os.{call}{kind}" for call in ("exec", "spawn") for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")}
)  # fmt: skip


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not path.name.endswith("_pb2.py"):
                yield path


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.expr) -> str:
    """`os.environ` for the expression that reads so; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def parsed(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sources(*rooms):
        yield where(path), ast.parse(path.read_text(), filename=str(path))


def nodes(*rooms: str) -> Iterator[tuple[str, ast.AST]]:
    for name, tree in parsed(*rooms):
        for node in ast.walk(tree):
            yield name, node


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name, tree in parsed(*ROOMS) if tree.body and not ast.get_docstring(tree)]
    assert not silent


def test_no_module_is_longer_than_can_be_read() -> None:
    long = {
        where(path): lines
        for path in sources(*ROOMS, "tests", "scripts", "bench")
        if (lines := len(path.read_text().splitlines())) > ALLOWED_LINES.get(where(path), MAX_LINES)
    }
    assert not long


def test_no_function_is_longer_than_can_be_read() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, node in nodes(*ROOMS)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno > MAX_FUNCTION_LINES
    ]
    assert not long


def test_the_engine_never_prints_and_never_exits() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, node in nodes("engine", "boxlite")
        if isinstance(node, ast.Call)
        and dotted(node.func) in ("print", "sys.exit", "exit", "os._exit")
        and not name.startswith(("engine/shim/", "engine/net/__main__"))  # processes of their own, with logs
    ]
    assert not found


def test_only_one_module_starts_processes() -> None:
    found = []
    for name, node in nodes("engine", "boxlite", "boxlite_cli"):
        if name in STARTS_PROCESSES:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            if {"subprocess", "multiprocessing", "pty"} & {module.partition(".")[0] for module in modules}:
                found.append(f"{name}:{node.lineno}")
        elif isinstance(node, ast.Call) and dotted(node.func) in PROCESS_CALLS:
            found.append(f"{name}:{node.lineno}")
    assert not found


def test_only_one_module_of_the_engine_reads_the_environment() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, node in nodes("engine", "boxlite")
        if name not in READS_ENVIRONMENT
        and isinstance(node, ast.Attribute)
        and dotted(node) in ("os.environ", "os.getenv", "os.environb")
    ]
    assert not found


@pytest.mark.parametrize("word", ["utils", "util", "helper", "helpers", "manager", "misc", "common"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert not [where(path) for path in sources(*ROOMS) if word in path.stem.split("_")]


def test_errors_are_never_swallowed_whole() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, node in nodes(*ROOMS)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or dotted(node.type) in ("Exception", "BaseException"))
        and all(isinstance(line, ast.Pass) for line in node.body)
    ]
    assert not found
