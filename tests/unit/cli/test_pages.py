"""What is made from the commands: manual pages, topics."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from boxlite_cli.app import build_root
from boxlite_cli.pages.error_codes import CODES
from boxlite_cli.pages.manual import command_page, page_files, topic_file
from boxlite_cli.pages.plain import topic_text
from boxlite_cli.pages.topics import Table, error_kinds, read_topics
from boxlite_cli.pages.tree import Page, read_tree

ROOT = Path(__file__).resolve().parents[3]
MAN = ROOT / "man"
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z-]*")


@pytest.fixture(scope="module")
def tree() -> Page:
    return read_tree()


def help_text(path: tuple[str, ...]) -> str:
    """What the parser itself says with `--help`."""
    command = build_root()
    context = command.make_context("boxlite", ["ls"])
    for word in path:
        command = command.get_command(context, word)
        context = type(context)(command, info_name=word, parent=context)
    return str(context.get_help())


def options_in(lines: str) -> set[str]:
    """The options that stand at the beginning of lines, as help and manual list them."""
    _, _, lines = lines.partition(":\n  -")
    listed = [
        line[2:].partition("  ")[0] for line in f"  -{lines}".splitlines() if re.match(r"  -\S+( |$)", line)
    ]
    return {name for line in listed for name in OPTION.findall(line)}


def test_manual_and_help_of_every_command_have_the_same_options(tree: Page) -> None:
    globals_ = {name for option in tree.options if option.is_global for name in option.names}
    for page in tree.walk():
        roff = command_page(page, tree, [])
        bold = re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-")
        of_manual = {
            name
            for line in re.findall(r"^\.TP\n(-.*)$", bold, re.MULTILINE)
            for name in OPTION.findall(line.partition(" [")[0])
        }
        of_help = options_in(help_text(page.path)) - {"--help", "-h" if "--hostname" not in of_manual else ""}
        assert of_manual == of_help - (globals_ if page.path else set()), page.name
        assert page.summary.rstrip(".") in " ".join(help_text(page.path).split())


def test_manual_has_a_page_for_every_command_name_and_topic(tree: Page) -> None:
    wanted = {name for page in tree.walk() for name in page_files(page)}
    wanted |= {topic_file(topic) for topic in read_topics()}
    assert {path.name for path in MAN.glob("man*/*")} == wanted


def test_manual_pages_are_clean() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", *sorted(map(str, MAN.glob("man*/*")))],
        capture_output=True,
        text=True,
    )
    assert done.stdout + done.stderr == ""


def test_manual_pages_are_rendered_without_a_warning() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    for path in sorted(MAN.glob("man*/*")):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-z", str(path)], capture_output=True, text=True, timeout=60
        )
        assert done.stderr == "", path.name


@pytest.mark.parametrize("width", [40, 80, 200])
def test_topic_text_keeps_to_the_width(width: int) -> None:
    for topic in read_topics():
        lines = topic_text(topic, width).splitlines()
        too_long = [line for line in lines if len(line) > width and not line.startswith("    ")]
        assert not [
            line
            for line in too_long
            if any(len(word) < width - 24 for word in line.split()) and "  " not in line
        ]


def test_topics_tables_are_whole() -> None:
    for topic in read_topics():
        for block in topic.blocks:
            if isinstance(block, Table):
                assert all(len(row) == len(block.headings) for row in block.rows), topic.name


def test_every_command_has_an_example_of_its_own(tree: Page) -> None:
    silent = [page.name for page in tree.walk() if page.path and not page.commands and not page.examples]
    assert not silent


def test_every_error_code_is_explained() -> None:
    unexplained = error_kinds().keys() - CODES.keys()
    assert not unexplained, "say what they mean in boxlite_cli/pages/error_codes.py"


def words_of(example: str) -> list[list[str]]:
    """The words after each `boxlite` in an example."""
    command = re.sub(r" {3,}.*", "", example)
    command = re.sub(r"\$\(.*?\)", "web", command).replace('"web"', "web")
    found = []
    for part in re.split(r" \| ", command):
        words = shlex.split(re.sub(r" [<>] \S+|source |[<>]\(|\)$", "", part))
        if "boxlite" in words and not words[0].startswith("$"):
            found.append(words[words.index("boxlite") + 1 :])
    return found


def parse(command: Any, name: str, words: list[str], parent: Any = None) -> None:
    """Let the real parser read a command line; it raises for a wrong one."""
    context = command.make_context(name, list(words), parent=parent)
    if hasattr(command, "resolve_command"):
        name, below, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(below, name, rest, context)


def test_examples_are_command_lines_that_the_parser_takes(tree: Page) -> None:
    examples = [example for page in tree.walk() for example in page.examples]
    assert len(examples) > 120
    for example in examples:
        for words in words_of(example):
            parse(build_root(), "boxlite", words)
