"""`boxlite logs`."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.failures import say
from boxlite_cli.humane import rfc3339
from boxlite_cli.output import Format, parse_format
from boxlite_cli.parsers import parse_integer
from boxlite_cli.results import STREAM_FORMATS, Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.times import parse_optional_time
from engine.errors import InvalidArgumentError
from engine.model import BoxRecord, LogRecord
from engine.stdio import copy_file, write_all

EXAMPLES = """
  boxlite logs -f web
  boxlite logs --since 10m --timestamps web
  boxlite logs -n 20 web
"""


def logs(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    settings: Settings,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")
    ] = False,
    tail: Annotated[
        str, typer.Option("--tail", "-n", metavar="N", help="Only the last N lines; 0 or all: every line.")
    ] = "all",
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From this time, or this long ago (10m), on."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Up to this time, or this long ago.")
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", "-t", help="Put the time before each line.")
    ] = False,
    console: Annotated[
        bool, typer.Option("--console", help="The machine's console instead: its kernel and agent.")
    ] = False,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="json (one object a line) or a template.")
    ] = None,
) -> int:
    """Show what a box's main command has written.

    What it wrote to standard output comes to ours, what it wrote to standard error to ours.
    With --format both come to standard output, a line of the command's at a time.
    """
    kind, template = parse_format(format_, STREAM_FORMATS, default=Format.TABLE)
    if console:
        if format_ and not settings.json:
            raise InvalidArgumentError("--console is text as it comes: it cannot be combined with --format")
        return run_async(_console(settings, box))
    lines = 0 if tail == "all" else parse_integer(tail, what="tail")
    return run_async(
        _logs(
            settings,
            box,
            follow=follow,
            tail=lines or None,
            since=parse_optional_time(since),
            until=parse_optional_time(until),
            printer=_Printer(timestamps=timestamps)
            if kind is Format.TABLE
            else _LinePrinter(Results(kind, template)),
        )
    )


async def _logs(
    settings: Settings,
    box: str,
    *,
    follow: bool,
    tail: int | None,
    since: datetime | None,
    until: datetime | None,
    printer: _Printer | _LinePrinter,
) -> int:
    async with settings.open_runtime() as runtime:
        record = await runtime.get(box)
        async for piece in runtime.logs(record.id, follow=follow, tail=tail, since=since, until=until):
            await printer.print(piece)
    printer.close()
    if printer.is_untouched:
        _explain_nothing(record)
    return 0


def _explain_nothing(record: BoxRecord) -> None:
    if record.state.started_at is None:
        say(f"box {record.name} was never started, so it has written nothing")


class _Printer:
    """Writes pieces of output as they are, or line by line with their times in front."""

    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._at_line_start = {"stdout": True, "stderr": True}
        self.is_untouched = True

    async def print(self, piece: LogRecord) -> None:
        self.is_untouched = False
        await write_all(
            1 if piece.stream == "stdout" else 2, self._stamped(piece) if self._timestamps else piece.data
        )

    def _stamped(self, piece: LogRecord) -> bytes:
        stamp = f"{rfc3339(piece.time)} ".encode()
        lines = piece.data.splitlines(keepends=True)
        text = b"".join(
            line if index == 0 and not self._at_line_start[piece.stream] else stamp + line
            for index, line in enumerate(lines)
        )
        self._at_line_start[piece.stream] = piece.data.endswith(b"\n")
        return text

    def close(self) -> None:
        """Nothing is held back."""


class _LinePrinter:
    """Each line as an object, once it is whole, with the time at which it was begun."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._begun: dict[str, LogRecord] = {}
        self.is_untouched = True

    async def print(self, piece: LogRecord) -> None:
        self.is_untouched = False
        begun = self._begun.pop(piece.stream, None)
        if begun is not None:
            piece = replace(begun, data=begun.data + piece.data)
        for line in piece.data.splitlines(keepends=True):
            part = replace(piece, data=line)
            if line.endswith(b"\n"):
                self._show(part)
            else:
                self._begun[piece.stream] = part
        sys.stdout.flush()

    def _show(self, line: LogRecord) -> None:
        text = line.data.decode("utf-8", "replace").rstrip("\r\n")
        self._results.add_line({"Time": rfc3339(line.time), "Stream": line.stream, "Line": text})

    def close(self) -> None:
        """Show lines that were never ended."""
        for line in self._begun.values():
            self._show(line)


async def _console(settings: Settings, box: str) -> int:
    async with settings.open_runtime() as runtime:
        record = await runtime.get(box)
        path = runtime.console_path(record)
    if not path.exists():
        say(f"box {record.name} has no console log: it was never started")
        return 0
    await copy_file(path, 1)
    return 0


COMMAND = as_command(logs, "logs", examples=EXAMPLES)
