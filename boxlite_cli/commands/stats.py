"""`boxlite stats`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.failures import report
from boxlite_cli.measures import COLUMNS, HEADINGS, idle_object, pending_row, stats_object, stats_row
from boxlite_cli.output import Format
from boxlite_cli.screen import Screen, screen_or_lines
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import BoxliteError, InvalidStateError
from engine.metrics import BoxMetrics, CpuUse
from engine.model import BoxRecord, BoxStatus

if TYPE_CHECKING:
    from engine.runtime import Runtime

INTERVAL_S = 1.0
FIRST_INTERVAL_S = 0.5
EXAMPLES = """
  boxlite stats
  boxlite stats --no-stream --format json web db
  boxlite stats --format '{{.Name}} {{.CPUPerc}}'
"""


def stats(
    settings: Settings,
    boxes: Annotated[list[str] | None, typer.Argument(metavar="[BOX]…")] = None,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Look once instead of again and again.")
    ] = False,
    stream: Annotated[bool, typer.Option("--stream", "-s", help="Look every second. [default]")] = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table, json, yaml or a template; a stream has one JSON object a line.",
        ),
    ] = None,
) -> int:
    """Show what running boxes use, every second until Ctrl-C.

    CPU % is of one processor; HOST is what the box's processes cost this machine. Without names: all that run.
    One that does not run has no figures: `--`, null in JSON.
    """
    kind, template = output.parse_format(format_, tuple(Format), default=Format.TABLE)
    once = no_stream and not stream
    return run_async(
        _once(settings, boxes or [], kind, template)
        if once
        else _stream(settings, boxes or [], kind, template)
    )


async def _once(settings: Settings, boxes: list[str], kind: Format, template: str) -> int:
    status = 0
    async with settings.open_runtime() as runtime:
        records = await _chosen(runtime, boxes)
        looks = await asyncio.gather(*(_look(runtime, record) for record in records), return_exceptions=True)
    objects: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for record, look in zip(records, looks, strict=True):
        if isinstance(look, BoxliteError):
            report(look, debug=settings.debug, as_json=settings.json)
            status = 1
        elif isinstance(look, BaseException):
            raise look
        elif look is None:
            objects.append(idle_object(record))
            rows.append(pending_row(record))
        else:
            objects.append(stats_object(record, *look))
            rows.append(stats_row(record, *look))
    if kind in (Format.JSON, Format.YAML):
        output.print_document(kind, objects)
    else:
        output.print_rows(rows, COLUMNS, HEADINGS, template)
    return status


async def _look(runtime: Runtime, record: BoxRecord) -> tuple[BoxMetrics, CpuUse] | None:
    """Two looks a moment apart: a share of the processor has no meaning in one. None for a box that does not run."""
    if record.status is not BoxStatus.RUNNING:
        return None
    looks = []
    async for look in runtime.watch_metrics(record.id, interval_s=FIRST_INTERVAL_S):
        looks.append(look)
        if len(looks) == 2:
            return look, CpuUse.between(*looks)
    raise InvalidStateError("it has just ended", box=record.name, operation="stats")


async def _chosen(runtime: Runtime, boxes: Sequence[str]) -> list[BoxRecord]:
    """The boxes named, or all that run."""
    if not boxes:
        return [record for record in await runtime.list_boxes() if record.status is BoxStatus.RUNNING]
    return [await runtime.get(ref) for ref in boxes]


async def _stream(settings: Settings, boxes: list[str], kind: Format, template: str) -> int:
    async with settings.open_runtime() as runtime:
        records = await _chosen(runtime, boxes)
        for record in records:
            if not record.status.is_active:
                raise InvalidStateError(
                    f"it is {record.status}",
                    hint=f"boxlite start {record.name}",
                    box=record.name,
                    operation="stats",
                )
        watch = _Watch(runtime, named=records if boxes else None)
        try:
            with screen_or_lines() as screen:
                while await watch.refresh():
                    await asyncio.sleep(INTERVAL_S if watch.has_figures else FIRST_INTERVAL_S)
                    _show(screen, watch, kind, template)
        finally:
            await watch.close()
    return 0


def _show(screen: Screen, watch: _Watch, kind: Format, template: str) -> None:
    if kind in (Format.JSON, Format.YAML):
        for one in watch.figures():
            output.print_lines([json.dumps(stats_object(*one), ensure_ascii=False)])
        sys.stdout.flush()
    elif template:
        output.print_template(template, [stats_row(*one) for one in watch.figures()], headings=HEADINGS)
        sys.stdout.flush()
    else:
        screen.show([HEADINGS[column] for column in COLUMNS], [_cells(row) for row in watch.rows()])


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [str(row[column]) for column in COLUMNS]


class _Watch:
    """A connection to each box that is shown, and the last two looks over it. `named` None: whatever runs."""

    def __init__(self, runtime: Runtime, *, named: list[BoxRecord] | None) -> None:
        self._runtime = runtime
        self._named = named
        self._boxes: dict[str, BoxRecord] = {}
        self._looks: dict[str, list[BoxMetrics]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def refresh(self) -> bool:
        """Take in boxes that run now and drop those that ended; False when none of those named is left."""
        running = {record.id: record for record in await self._runtime.list_boxes()}
        if self._named is not None:
            running = {record.id: running[record.id] for record in self._named if record.id in running}
        for box_id in self._boxes.keys() - running.keys():
            self._looks.pop(box_id, None)
            if task := self._tasks.pop(box_id, None):
                task.cancel()
        self._boxes = running
        for box_id, record in running.items():
            if record.status is not BoxStatus.RUNNING:
                self._looks.pop(box_id, None)
            elif box_id not in self._tasks or self._tasks[box_id].done():
                self._tasks[box_id] = asyncio.create_task(self._follow(record))
        return bool(running) or self._named is None

    async def _follow(self, record: BoxRecord) -> None:
        try:
            async for look in self._runtime.watch_metrics(record.id, interval_s=INTERVAL_S):
                self._looks[record.id] = [*self._looks.get(record.id, [])[-1:], look]
        except BoxliteError:
            self._looks.pop(record.id, None)  # it ended, or is paused: the next refresh sees what it is

    @property
    def has_figures(self) -> bool:
        return any(len(looks) == 2 for looks in self._looks.values())

    def figures(self) -> list[tuple[BoxRecord, BoxMetrics, CpuUse]]:
        return [
            (record, looks[1], CpuUse.between(*looks))
            for box_id, record in self._boxes.items()
            if len(looks := self._looks.get(box_id, [])) == 2
        ]

    def rows(self) -> list[dict[str, Any]]:
        known = {record.id: stats_row(record, metrics, cpu) for record, metrics, cpu in self.figures()}
        return [known.get(box_id, pending_row(record)) for box_id, record in self._boxes.items()]

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


COMMAND = as_command(stats, "stats", examples=EXAMPLES)
