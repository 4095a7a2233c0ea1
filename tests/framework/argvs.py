"""The command lines that tests are written with, read from their source: who wants to know whether a flag is tested need not
run everything."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from boxlite_cli.pages.tree import Option, Page

ANYTHING = "\0"
"""A word that is only known when the test runs."""
CALLED_BY = {"spec_of": ("run",), "exec_spec_of": ("exec",)}
"""Functions of the unit tests that parse the options of one command."""


class Use(NamedTuple):
    """A test's module and the option, by its first long name, that a command is given there."""

    module: str
    command: str
    option: str


def uses(modules: Sequence[Path], root: Page) -> set[Use]:
    """Every option in every command line of the modules."""
    pages = {page.path: page for page in root.walk()}
    return {
        Use(path.name, " ".join(page), option)
        for path in modules
        for words in command_lines(path)
        for page, option in options_of(words, pages)
    }


def command_lines(path: Path) -> Iterator[Sequence[str]]:
    """Words that stand beside one another: arguments of a call, items of a tuple or list, a line of a text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            words = [word for argument in node.args for word in _words(argument)]
            while words and words[0] == ANYTHING:  # what runs it
                words.pop(0)
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            yield [*CALLED_BY.get(name, ()), *words]
        elif isinstance(node, ast.Tuple | ast.List):
            yield [word for item in node.elts for word in _words(item)]
        elif isinstance(node, ast.Constant | ast.JoinedStr):
            yield from (_split(line) for line in re.split(r"[\n;|]|&&|\$\(", _text(node)))


def _words(node: ast.expr) -> Sequence[str]:
    if isinstance(node, ast.Starred):
        return _words(node.value)
    if isinstance(node, ast.Tuple | ast.List):
        return [word for item in node.elts for word in _words(item)]
    if isinstance(node, ast.Constant | ast.JoinedStr):
        return [_text(node)]
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "split":
        return _split(_text(node.func.value))  # type: ignore[attr-defined]
    return [ANYTHING]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ANYTHING
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return ANYTHING


def _split(text: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def options_of(
    words: Sequence[str], pages: Mapping[tuple[str, ...], Page]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The options in a command line that begins with a command, with or without `boxlite`, or has options before it."""
    words = list(words)
    if "boxlite" in words:
        words = words[words.index("boxlite") + 1 :]
    alone = [option.long_name for option in pages[()].options if words[:1] == [option.long_name]]
    path, words = _command(words, pages)
    if path is None:
        yield from (((), option) for option in alone)
        return
    page = pages[path]
    named = {name: option for option in page.options for name in (*option.names, *option.off_names)}
    while words:
        word = words.pop(0)
        if word == "--" or (page.words_end_options and not word.startswith("-") and word != ANYTHING):
            return
        name, equals, _ = word.partition("=")
        for flag in [name] if name.startswith("--") else [f"-{letter}" for letter in name[1:]]:
            option = named.get(flag)
            if not word.startswith("-") or option is None:
                break
            yield path, option.long_name
            if flag in option.off_names:
                yield path, flag
            if option.metavar is not None:
                if not equals and (name.startswith("--") or name.endswith(flag)) and words:
                    words.pop(0)
                break


def _command(
    words: list[str], pages: Mapping[tuple[str, ...], Page]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """The path of the command, and the words after it, with the global options that stood before."""
    before: list[str] = []
    takes_value = {name for option in pages[()].options if option.metavar for name in option.names}
    while words and words[0].startswith("-"):
        before += words[:2] if words[0] in takes_value else words[:1]
        words = words[2:] if words[0] in takes_value else words[1:]
    for length in (3, 2, 1):
        path = tuple(words[:length])
        if len(path) == length and path in pages and not pages[path].commands:
            return path, [*before, *words[length:]]
    return None, []


def wanted_options(root: Page) -> Iterator[tuple[Page, Option]]:
    """Every option of every command that is its own, and the global ones of the root."""
    for page in root.walk():
        if not page.commands:
            yield from ((page, option) for option in page.options if not option.is_global)
    yield from ((root, option) for option in root.options)
