"""Every flag that the manual speaks of is in a command line that a test runs."""

from __future__ import annotations

from pathlib import Path

from boxlite_cli.pages.tree import Option, Page, read_tree
from tests.framework.argvs import uses, wanted_options

TESTS = Path(__file__).resolve().parents[1]
NO_EVIDENCE = {
    "test_help_examples.py", "test_flags.py", "test_early.py", "test_habits.py", "test_pages.py", "test_command_lines.py",
    "test_completion.py", "test_startup.py",
}  # fmt: skip
"""Tests of how command lines are read, or that they run: they do not show what a flag does."""
MODULES = sorted(
    path
    for folder in ("unit/cli", "integration", "vm", "security")
    for path in (TESTS / folder).rglob("test_*.py")
    if path.name not in NO_EVIDENCE
)
EVERYWHERE = "--format"
"""Its test is about all commands at once: tests/vm/test_formats.py."""
ALSO = {
    "image ls": "images",
    "image pull": "pull",
    "image tag": "tag",
    "image rm": "rmi",
    "image load": "load",
    "image save": "save",
    "image import": "import",
    "system df": "df",
    "volume get": "volume inspect",
    "create": "run",
}
"""Commands whose flags are those of another one: a test of that is a test of both."""


def text_of(option: Option) -> tuple[object, ...]:
    return option.names, option.metavar, option.help


def test_flags_all_are_in_a_command_line_of_a_test() -> None:
    root = read_tree()
    given = {(use.command, use.option) for use in uses(MODULES, root)}
    anywhere = {option for _, option in given}
    untested = []
    for page, option in wanted_options(root):
        for name in (option.long_name, *option.off_names):
            path = " ".join(page.path)
            commands = {path, ALSO.get(path, path)}
            tested = any((command, name) in given for command in commands) if path else name in anywhere
            if not tested and name != EVERYWHERE:
                untested.append(f"{page.name} {name}")
    assert not untested, "write a test of what they do"


def test_flags_of_two_commands_that_stand_for_one_another_are_the_same() -> None:
    pages: dict[str, Page] = {" ".join(page.path): page for page in read_tree().walk()}
    for path, other in ALSO.items():
        assert {text_of(option) for option in pages[path].options} <= {
            text_of(option) for option in pages[other].options
        }, path
