"""`boxlite help`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from boxlite_cli.command import as_command
from boxlite_cli.output import print_lines


def help_(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]…")] = None,
) -> int:
    """Show help for a command."""
    context: Any = ctx.parent
    for word in words or []:
        if not hasattr(context.command, "resolve_command"):
            context.fail(f"{context.command_path} has no command {word!r} below it")
        name, command, _ = context.command.resolve_command(context, [word])
        context = type(context)(command, info_name=name, parent=context, **command.context_settings)
    print_lines([context.get_help()])
    return 0


COMMAND = as_command(help_, "help", examples="boxlite help run\nboxlite help system doctor")
