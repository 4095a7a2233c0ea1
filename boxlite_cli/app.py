"""The root: which command was asked for, and what to make of the way it ended.

Only the command that is used is imported (`catalog` knows the others); a test asserts what importing this module must not
load.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from boxlite_cli import failures
from boxlite_cli.catalog import ENTRIES, SECTIONS, find_entry
from boxlite_cli.command import (
    BoxliteGroup,
    flattened,
    report_failure,
    usage_error_class,
)
from boxlite_cli.global_options import GlobalOptions
from boxlite_cli.output import print_lines
from boxlite_cli.settings import read_config
from engine.lean import load_asyncio

PROGRAM = "boxlite"
WITHOUT_ASYNCIO = ("completion", "config", "help", "pull", "version")
"""Modules of commands that read their words without it."""

EXAMPLES = """\
Examples:
  boxlite run --rm alpine:3.20 uname -r            one command in a machine of its own
  boxlite run -d --name web -p 8080:80 nginx       a server in the background
  boxlite exec -it web sh                          a shell in it

A box gets {cpus} cpu, {memory} MiB of memory and a disk of up to {disk} GiB unless asked otherwise.
`boxlite help COMMAND` says more about one command, `boxlite help topics` about the rest.
"""


class RootGroup(BoxliteGroup):
    """All commands, each imported when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [entry.name for entry in ENTRIES]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = find_entry(cmd_name)
        if entry is None:
            return None
        if entry.module not in WITHOUT_ASYNCIO:
            load_asyncio()
        return importlib.import_module(f"boxlite_cli.commands.{entry.module}").COMMAND

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if find_entry(args[0]) is None and not args[0].startswith("-"):
            file = read_config(ctx.params.get("config"))
            if file is not None and file.aliases:
                from boxlite_cli.defaults import expand_alias

                args = expand_alias(args, file.aliases) or args
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        width = max(len(entry.name) for entry in ENTRIES) + 2
        for title, entries in SECTIONS:
            formatter.write(f"\n{title}:\n")
            for entry in entries:
                formatter.write(f"  {entry.name:<{width}}{entry.summary}\n")
        options = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        with formatter.section("Options, also after the command"):
            formatter.write_dl([record for record in options if record])
        formatter.write(f"\n{_examples()}")


def _examples() -> str:
    from engine.model import DEFAULT_CPUS, DEFAULT_DISK_SIZE_GB, DEFAULT_MEMORY_MIB

    return EXAMPLES.format(cpus=DEFAULT_CPUS, memory=DEFAULT_MEMORY_MIB, disk=DEFAULT_DISK_SIZE_GB)


def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
) -> int:
    """Run any OCI image in a micro-VM of its own, with a container's manners and no daemon."""
    if version:
        from engine.version import __version__

        print_lines([f"{PROGRAM} {__version__}"])
        raise typer.Exit(0)
    if ctx.invoked_subcommand is None:
        print_lines([ctx.get_help()])
    return 0


def build_root() -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback(
        cls=RootGroup,
        invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"]},
        options_metavar="[OPTIONS]",
        subcommand_metavar="COMMAND …",
    )(flattened(root))
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status. Everything that goes wrong is shown here or in the command."""
    try:
        command = build_root()
        with command.make_context(PROGRAM, list(arguments)) as ctx:
            status = int(command.invoke(ctx) or 0)
    except typer.Exit as end:
        status = end.exit_code
    except typer.Abort:
        failures.say("Error: given up")
        status = 1
    except usage_error_class() as error:
        status = _say_what_is_wrong(error, as_json="--json" in arguments)
    except (BrokenPipeError, KeyboardInterrupt, failures.TerminatedBySignal) as error:
        status = failures.status_of(error)
    except Exception as error:
        status = report_failure(error, GlobalOptions(json="--json" in arguments), failure_status=1)
    return failures.flush_output() or status


def _say_what_is_wrong(error: Any, *, as_json: bool) -> int:
    """A wrong command line: one line of what, one of where help is. Whether errors are wanted as JSON is guessed from
    the words, as they could not be parsed."""
    path = error.ctx.command_path if error.ctx is not None else PROGRAM
    if type(error).__name__ == "NoArgsIsHelpError":
        failures.say(error.ctx.get_help())
    else:
        habit = _habit(error)
        message = _in_our_words(error).partition("; did you mean")[0] if habit else _in_our_words(error)
        failures.report_usage(message, hint=habit or _usage_hint(error, path), as_json=as_json)
    return failures.USAGE_STATUS


def _habit(error: Any) -> str | None:
    """What to use instead of something that Docker or Podman has."""
    from boxlite_cli.habits import hint_for_command, hint_for_flag

    command = getattr(error, "unknown_command", None)
    if command is not None and error.ctx is not None and error.ctx.parent is None:
        return hint_for_command(command)
    if hasattr(error, "possibilities") and error.ctx is not None:
        path = " ".join(error.ctx.command_path.split()[1:])
        return hint_for_flag(path.removeprefix("image ") if path == "image pull" else path, error.option_name)
    return None


def _usage_hint(error: Any, path: str) -> str:
    """How the line should have looked, where arguments are missing or too many; else where to read it."""
    if error.ctx is None or (getattr(error, "param", None) is None and "extra argument" not in str(error)):
        return f"see '{path} --help'"
    pieces = " ".join(error.ctx.command.collect_usage_pieces(error.ctx))
    return f"usage: {path} {pieces}"


def _in_our_words(error: Any) -> str:
    extra = re.match(r"Got unexpected extra arguments? ?(?:\(s\) )?\((.*)\)", str(error.format_message()))
    if extra is not None:
        return f"{extra[1]!r} is more than this command takes"
    option = getattr(error, "option_name", None)
    near = getattr(error, "possibilities", None)
    if option is not None and hasattr(error, "possibilities"):
        return f"there is no option {option}" + (f"; did you mean {' or '.join(near[:2])}?" if near else "")
    text = str(error.format_message()).rstrip(".")
    return text[:1].lower() + text[1:]
