"""`boxlite ls`, also `list` and `ps`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.listing import SORT_KEYS, parse_filters, select
from boxlite_cli.output import Format
from boxlite_cli.parsers import parse_integer
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.views import BOX_HEADINGS, box_row, box_summary
from engine.errors import InvalidArgumentError
from engine.model import utc_now

COLUMNS = ("ID", "Image", "Status", "CreatedAt", "Ports", "Names")
EXAMPLES = """
  boxlite ls -a
  boxlite ls --filter status=stopped --filter label=team=web
  boxlite ls --format 'table {{.Names}}\\t{{.Status}}'
"""


def ls(
    settings: Settings,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also boxes that are not running.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only ids.")] = False,
    latest: Annotated[
        bool, typer.Option("--latest", "-l", help="Only the box that was created last.")
    ] = False,
    last: Annotated[
        str | None, typer.Option("--last", "-n", metavar="N", help="Only the N boxes that were created last.")
    ] = None,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Shorten nothing.")] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="id, name, status, label, ancestor, exited, health, before or since; repeatable.",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", metavar="KEY", help=f"{', '.join(SORT_KEYS)}; - in front: backwards. [default: created]"
        ),
    ] = "created",
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """List boxes, the newest first: those that are running, or all of them with -a."""
    output.check_quiet(quiet, format_)
    if sort.removeprefix("-") not in SORT_KEYS:
        raise InvalidArgumentError(f"sort {sort!r} is not one of: {', '.join(SORT_KEYS)}")
    count = 1 if latest else parse_integer(last, what="last", minimum=1) if last is not None else None
    return run_async(_ls(settings, filter_ or [], count, sort, all_, quiet, no_trunc, format_))


async def _ls(
    settings: Settings,
    filters: list[str],
    count: int | None,
    sort: str,
    all_: bool,
    quiet: bool,
    no_trunc: bool,
    format_word: str | None,
) -> int:
    wanted = parse_filters(filters)
    kind, template = output.parse_format(format_word, tuple(Format), default=Format.TABLE)
    async with settings.open_runtime() as runtime:
        everything = all_ or count is not None or wanted.looks_at_stopped
        records = select(await runtime.list_briefly(all=everything), wanted, sort=sort, count=count)
    if quiet:
        output.print_lines(record.id if no_trunc else record.short_id for record in records)
    elif kind in (Format.JSON, Format.YAML):
        output.print_document(kind, [box_summary(record) for record in records])
    else:
        now = utc_now()
        rows = [box_row(record, full=no_trunc, now=now) for record in records]
        output.print_rows(rows, COLUMNS, BOX_HEADINGS, template)
    return 0


COMMAND = as_command(ls, "ls", examples=EXAMPLES)
