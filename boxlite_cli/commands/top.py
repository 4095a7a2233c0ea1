"""`boxlite top`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.humane import duration_text, rfc3339
from boxlite_cli.output import Format
from boxlite_cli.screen import screen_or_lines
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import (
    InvalidArgumentError,
    InvalidStateError,
    NotFoundError,
    RpcTransportError,
    StoppedError,
)
from engine.metrics import BoxSession
from engine.model import utc_now

EXAMPLES = """
  boxlite top web
  boxlite top -a web
  boxlite top -s web
"""


INTERVAL_S = 1.0
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
    stream: Annotated[
        bool, typer.Option("--stream", "-s", help="Look every second, until Ctrl-C or the end of the box.")
    ] = False,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """Show the commands in a running box: its main one and those of exec."""
    kind, template = output.parse_format(format_, tuple(Format), default=Format.TABLE)
    if stream and kind is not Format.TABLE:
        raise InvalidArgumentError("--stream is a table", hint="leave out --format, or --stream")
    if stream:
        return run_async(_stream(settings, box, all_, no_trunc))
    return run_async(_top(settings, box, all_, no_trunc, kind, template))


async def _stream(settings: Settings, box: str, all_: bool, no_trunc: bool) -> int:
    async with settings.open_runtime() as runtime:
        record = await runtime.get(box)
        found = await runtime.sessions(record.id)
        with screen_or_lines() as screen:
            while True:
                rows = [_row(one, full=no_trunc) for one in found if all_ or one.exit_code is None]
                cells = [[str(row[column]) for column in COLUMNS] for row in rows]
                screen.show([HEADINGS[column] for column in COLUMNS], cells)
                await asyncio.sleep(INTERVAL_S)
                try:
                    found = await runtime.sessions(record.id)
                except (InvalidStateError, NotFoundError, StoppedError, RpcTransportError):
                    return 0  # it has ended


async def _top(settings: Settings, box: str, all_: bool, no_trunc: bool, kind: Format, template: str) -> int:
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
