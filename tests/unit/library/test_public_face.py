"""Every public name says what it is, has types, and is there without an event loop too."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import boxlite

ROOT = Path(__file__).resolve().parents[3]
REFERENCE_ERRORS = (
    "UnsupportedEngine", "Unsupported", "Engine", "Config", "Storage", "Image", "Portal", "Network", "Rpc",
    "RpcTransport", "Internal", "Execution", "NotFound", "AlreadyExists", "InvalidState", "Database", "Metadata",
    "InvalidArgument", "Stopped", "ResourceExhausted",
)  # fmt: skip
TWINS = {
    name: f"Sync{name}"
    for name in (
        "Boxlite", "Box", "Execution", "SimpleBox", "CodeBox", "Images", "Volumes", "Output", "Input",
        "BoxNetwork", "BoxTunnel", "BoxConnection", "TunnelForwarder",
    )
}  # fmt: skip


def public_classes() -> dict[str, type]:
    found = {name: getattr(boxlite, name) for name in boxlite.__all__}
    return {name: value for name, value in found.items() if inspect.isclass(value)}


def members(owner: type) -> dict[str, object]:
    """Public methods and properties that this project wrote."""
    return {
        name: value
        for base in reversed(owner.__mro__)
        if base.__module__.startswith(("boxlite", "engine"))
        for name, value in vars(base).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod))
    }


def function_of(member: object) -> object:
    if isinstance(member, property):
        return member.fget
    return getattr(member, "__func__", member)


def test_public_names_all_are_documented() -> None:
    silent = []
    for name, owner in public_classes().items():
        if not owner.__doc__ or owner.__doc__.startswith(f"{owner.__name__}("):  # what dataclass makes up
            silent.append(name)
        silent += [
            f"{name}.{member}"
            for member, value in members(owner).items()
            if not getattr(function_of(value), "__doc__", None)
        ]
    assert not silent


def annotations() -> Iterator[tuple[str, ast.expr]]:
    for path in sorted((ROOT / "boxlite").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("_") and node.name != "__init__":
                    continue
                named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                named += [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
                for argument in named:
                    if argument.annotation is not None:
                        yield f"{path.name}:{node.name}", argument.annotation
                if node.returns is not None:
                    yield f"{path.name}:{node.name}", node.returns
            elif isinstance(node, ast.AnnAssign):
                yield f"{path.name}:{node.lineno}", node.annotation


def test_public_signatures_know_no_any() -> None:
    loose = [
        where
        for where, annotation in annotations()
        if not where.startswith("background.py")  # runs any coroutine, and is no part of the public face
        and any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(annotation))
    ]
    assert not loose


@pytest.mark.parametrize("name", TWINS)
def test_sync_twin_has_every_method_with_the_same_parameters(name: str) -> None:
    twin = members(getattr(boxlite, TWINS[name]))
    for member, value in members(getattr(boxlite, name)).items():
        assert member in twin, f"{TWINS[name]}.{member} is missing"
        if not isinstance(value, property):
            ours, theirs = (inspect.signature(function_of(one)) for one in (value, twin[member]))  # type: ignore[arg-type]
            assert list(ours.parameters) == list(theirs.parameters), f"{name}.{member}"


@pytest.mark.parametrize("name", REFERENCE_ERRORS)
def test_error_of_the_reference_is_in_the_tree_with_a_code(name: str) -> None:
    error = getattr(boxlite, f"{name}Error")
    assert issubclass(error, boxlite.BoxliteError)
    made = error("why", hint="do this", box="b", operation="o")
    assert made.code and (made.hint, made.box, made.operation) == ("do this", "b", "o")


def test_errors_of_one_call_boxes_are_in_the_tree() -> None:
    error = boxlite.ExecError("make", 2, "a\nno rule\n")
    assert isinstance(error, boxlite.ExecutionError) and "no rule" in str(error)
    assert issubclass(boxlite.TimeoutError, (boxlite.DeadlineError, TimeoutError))


PROGRAMS = (Path(__file__).with_name("sample_program.py"), *sorted((ROOT / "examples").glob("*.py")))


def test_user_programs_pass_mypy_strict(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--follow-imports=silent",
         "--cache-dir", str(tmp_path), *map(str, PROGRAMS)],
        env={**os.environ, "MYPYPATH": f"{ROOT}:{ROOT / 'examples'}"}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_reference_page_has_every_public_name_once() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text().splitlines()
    for name in public_classes():
        told = [line for line in page if re.match(rf"(### {name}( \(.*\))?|- `{name}`: .*)$", line)]
        assert len(told) == 1, name
