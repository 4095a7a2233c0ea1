"""Every command as a value: names, summary, options by section, arguments, examples, and the commands below it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument

from boxlite_cli.app import PROGRAM, build_root
from boxlite_cli.catalog import find_entry
from boxlite_cli.global_options import SECTION as GLOBAL_SECTION
from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `metavar` None: a flag. `off_names` turn a flag off."""

    names: tuple[str, ...]
    off_names: tuple[str, ...] = ()
    metavar: str | None
    help: str
    section: str
    repeatable: bool = False

    @property
    def long_name(self) -> str:
        """The name it is known by: the first long one."""
        return next((name for name in self.names if name.startswith("--")), self.names[0])

    @property
    def is_global(self) -> bool:
        return self.section == GLOBAL_SECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    metavar: str
    repeatable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One command. `path` is what is typed after `boxlite`, empty for the root; `aliases` are other words for its last;
    `words_end_options`: what follows the first argument belongs to a command in the box."""

    path: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    summary: str
    description: tuple[str, ...]
    usage: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    examples: tuple[str, ...]
    commands: tuple[Page, ...] = ()
    words_end_options: bool = False

    @property
    def name(self) -> str:
        """`boxlite image ls`."""
        return " ".join((PROGRAM, *self.path))

    @property
    def sections(self) -> dict[str, tuple[Option, ...]]:
        """Options by heading, in the order of help: the global ones last."""
        found: dict[str, list[Option]] = {}
        for option in self.options:
            found.setdefault(option.section, []).append(option)
        if GLOBAL_SECTION in found:
            found[GLOBAL_SECTION] = found.pop(GLOBAL_SECTION)
        return {title: tuple(options) for title, options in found.items()}

    def walk(self) -> Iterator[Page]:
        """This page and all below it."""
        yield self
        for page in self.commands:
            yield from page.walk()


def read_tree() -> Page:
    """The root with everything below it. Imports every command."""
    return _page(build_root(), ())


def front_page() -> str:
    """What `boxlite --help` prints on a terminal of eighty columns or more, kept as a file because making it takes long."""
    root = build_root()
    context = root.make_context(PROGRAM, ["ls"], terminal_width=78)
    return str(context.get_help()) + "\n"


def _page(command: Any, path: tuple[str, ...]) -> Page:
    paragraphs = _paragraphs(command.help or "")
    entry = find_entry(path[0]) if len(path) == 1 else None
    names = command.list_commands(None) if hasattr(command, "list_commands") else ()
    arguments = [param for param in command.params if isinstance(param, TyperArgument)]
    return Page(
        path=path,
        aliases=entry.aliases if entry else (),
        summary=paragraphs[0].rstrip(".") if paragraphs else "",
        description=tuple(paragraphs[1:]),
        usage=_usage(command, path, arguments),
        options=tuple(
            _option(param)
            for param in command.params
            if not isinstance(param, TyperArgument) and not getattr(param, "hidden", False)
        ),
        arguments=tuple(
            Argument(metavar=param.metavar or "", repeatable=param.nargs == -1) for param in arguments
        ),
        examples=_examples(command.epilog),
        commands=tuple(
            _page(below, (*path, name))
            for name in names
            if not getattr(below := command.get_command(None, name), "hidden", False)
        ),
        words_end_options=not command.context_settings.get("allow_interspersed_args", True),
    )


def _option(param: Any) -> Option:
    return Option(
        names=tuple(param.opts),
        off_names=tuple(param.secondary_opts),
        metavar=None if param.is_flag else param.metavar or "VALUE",
        help=" ".join((param.help or "").split()),
        section=getattr(param, "rich_help_panel", None) or "Options",
        repeatable=bool(param.multiple),
    )


def _usage(command: Any, path: tuple[str, ...], arguments: list[Any]) -> str:
    pieces = [param.metavar for param in arguments]
    if hasattr(command, "list_commands"):
        pieces = ["COMMAND …"]
    options = ["[OPTIONS]"] if command.params and (arguments or not pieces or not path) else []
    return " ".join((PROGRAM, *path, *options, *(piece or "" for piece in pieces)))


def _paragraphs(text: str) -> list[str]:
    return [" ".join(piece.split()) for piece in text.strip().split("\n\n") if piece.strip()]


def _examples(epilog: str | None) -> tuple[str, ...]:
    lines = (epilog or "").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("Examples"))
