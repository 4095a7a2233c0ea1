"""`boxlite top`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.humane import duration_text, rfc3339
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.metrics import BoxSession
from engine.model import utc_now

EXAMPLES = """
  boxlite top web
  boxlite top -a web
  boxlite top --format json web
"""


COLUMNS = ("ID", "Command", "Status", "Attached")
HEADINGS = {
    "ID": "EXEC ID", "Command": "COMMAND", "Status": "STATUS", "Attached": "ATTACHED", "Processes": "PROCESSES",
    "StartedAt": "STARTED",
}  # fmt: skip


def top(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    settings: Settings,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also commands that have ended.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Shorten nothing.")] = False,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """Show the commands in a running box: its main one and those of exec."""
    return run_async(_top(settings, box, all_, no_trunc, format_))


async def _top(settings: Settings, box: str, all_: bool, no_trunc: bool, format_word: str | None) -> int:
    kind, template = output.parse_format(format_word, tuple(Format), default=Format.TABLE)
    async with settings.open_runtime() as runtime:
        found = [one for one in await runtime.sessions(box) if all_ or one.exit_code is None]
    if kind in (Format.JSON, Format.YAML):
        output.print_document(kind, [_summary(one) for one in found])
    else:
        output.print_rows([_row(one, full=no_trunc) for one in found], COLUMNS, HEADINGS, template)
    return 0


def _summary(one: BoxSession) -> dict[str, Any]:
    return {
        "ID": one.id,
        "Command": list(one.argv),
        "Status": "running" if one.exit_code is None else "exited",
        "ExitCode": one.exit_code,
        "Tty": one.tty,
        "Attached": one.attached,
        "Processes": one.processes,
        "StartedAt": rfc3339(one.started_at),
    }


def _row(one: BoxSession, *, full: bool) -> dict[str, Any]:
    command = " ".join(one.argv)
    status = "running" if one.exit_code is None else f"exited ({one.exit_code})"
    if one.exit_code is None and one.started_at is not None:
        status = f"running {duration_text((utc_now() - one.started_at).total_seconds())}"
    return _summary(one) | {
        "ID": one.id if full else one.id[:12],
        "Command": command if full or len(command) <= 50 else f"{command[:49]}…",
        "Status": status,
        "Attached": "yes" if one.attached else "no",
    }


COMMAND = as_command(top, "top", examples=EXAMPLES)
