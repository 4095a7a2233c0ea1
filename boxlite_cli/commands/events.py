"""`boxlite events`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.happenings import EventFilter, event_line, event_object, parse_event_filter
from boxlite_cli.output import Format
from boxlite_cli.parsers import parse_integer
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.times import parse_optional_time
from engine.model import utc_now

if TYPE_CHECKING:
    from boxlite_cli.templates import CompiledTemplate

EXAMPLES = """
  boxlite events
  boxlite events --since 1h --no-follow --filter event=failed
  boxlite events --after 120 --format json
  boxlite events --filter label=team=web --format '{{.Time}} {{.Name}} {{.Event}}'
"""


def events(
    settings: Settings,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From this time, or this long ago (10m), on."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="CURSOR", help="What came after the event with this Cursor, nothing left out."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Up to this time, or this long ago.")
    ] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="box, name, id, event or label=KEY[=VALUE]; repeatable.",
        ),
    ] = None,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Only what has happened, not what is still to come.")
    ] = False,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="json (one object a line) or a template.")
    ] = None,
) -> int:
    """Show what happens to boxes, as it happens.

    Goes on until Ctrl-C, or until the time of --until.
    """
    end = parse_optional_time(until)
    follow = not no_follow and (end is None or end > utc_now())
    start = parse_optional_time(since)
    cursor = None if after is None else parse_integer(after, what="after")
    wanted = parse_event_filter(filter_ or [])
    return run_async(_events(settings, cursor, start, end, follow, wanted, _Printer(format_)))


async def _events(
    settings: Settings,
    cursor: int | None,
    since: datetime | None,
    until: datetime | None,
    follow: bool,
    wanted: EventFilter,
    printer: _Printer,
) -> int:
    async with settings.open_runtime() as runtime:
        labels: dict[str, Mapping[str, str]] = {}
        if wanted.labels:
            labels = {record.id: record.spec.labels for record in await runtime.list_boxes(all=True)}
        async for event in runtime.events(after_cursor=cursor, since=since, until=until, follow=follow):
            if wanted.labels and event.box_id not in labels:
                record = await runtime.find(event.box_id)
                labels[event.box_id] = {} if record is None else record.spec.labels
            if wanted.passes(event, labels.get(event.box_id, {})):
                printer.print(event_object(event), event_line(event))
    return 0


class _Printer:
    """One line an event, written out at once."""

    def __init__(self, format_word: str | None) -> None:
        kind, template = output.parse_format(
            format_word, (Format.JSON, Format.TEMPLATE), default=Format.TABLE
        )
        self._kind = kind
        self._template: CompiledTemplate | None = None
        if kind is Format.TEMPLATE:
            from boxlite_cli.templates import compile_template

            self._template = compile_template(template)

    def print(self, event: Mapping[str, Any], line: str) -> None:
        if self._template is not None:
            line = self._template.render(event)
        elif self._kind is Format.JSON:
            line = json.dumps(event, ensure_ascii=False)
        output.print_lines([line])
        sys.stdout.flush()


COMMAND = as_command(events, "events", examples=EXAMPLES)
