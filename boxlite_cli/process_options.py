"""The options of one process in a box, which `exec` has too (`option_groups` has those of boxes).

Every value stays the text that was typed; the class variable `section` is the heading in help.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, ClassVar

import typer

from engine.values import dataclass

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


def text(*names: str, metavar: str, help: str) -> Any:  # noqa: A002  Typer's word
    return typer.Option(*names, metavar=metavar, help=help)


def flag(*names: str, help: str) -> Any:  # noqa: A002
    return typer.Option(*names, help=help)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOptions:
    section: ClassVar[str] = "Process"

    env: Annotated[
        list[str],
        text(
            "--env",
            "-e",
            metavar="KEY[=VALUE]",
            help="Set a variable; KEY alone copies it from here; repeatable.",
        ),
    ] = field(default_factory=list)
    env_file: Annotated[
        list[str], text("--env-file", metavar="FILE", help="Read variables from a file; repeatable.")
    ] = field(default_factory=list)
    workdir: Annotated[
        str | None,
        text("--workdir", "-w", metavar="PATH", help="Directory to run in. [default: the image's]"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    section: ClassVar[str] = "Process"

    interactive: Annotated[bool, flag("--interactive", "-i", help="Pass standard input on.")] = False
    tty: Annotated[bool, flag("--tty", "-t", help="Give the command a terminal.")] = False
    user: Annotated[
        str | None,
        text("--user", "-u", metavar="USER[:GROUP]", help="User to run as. [default: the image's]"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalOptions(StreamOptions):
    """Of a command that is attached to at once."""

    detach_keys: Annotated[
        str,
        text(
            "--detach-keys",
            metavar="KEYS",
            help=f"Keys that leave the box running. [default: {DEFAULT_DETACH_KEYS}]",
        ),
    ] = DEFAULT_DETACH_KEYS
