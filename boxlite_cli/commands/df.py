"""`boxlite df`, also `boxlite system df`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.humane import size_text
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.model import DiskUsage

EXAMPLES = """
  boxlite df
  boxlite df --format json
  boxlite df --format 'table {{.Type}}\\t{{.Reclaimable}}'
"""


COLUMNS = ("Type", "Total", "Active", "Size", "Reclaimable")
HEADINGS = {
    "Type": "TYPE",
    "Total": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}


def df(
    settings: Settings,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """Show what images, disks, machines and boxes take on disk.

    RECLAIMABLE is what `boxlite gc`, `boxlite prune`, `boxlite system prune -a` or `boxlite volume prune -a` would free.
    """
    return run_async(_df(settings, format_))


async def _df(settings: Settings, format_word: str | None) -> int:
    kind, template = output.parse_format(format_word, tuple(Format), default=Format.TABLE)
    async with settings.open_runtime() as runtime:
        usage = await runtime.disk_usage()
    if kind in (Format.JSON, Format.YAML):
        output.print_document(kind, [_summary(line) for line in usage])
    else:
        output.print_rows([_row(line) for line in usage], COLUMNS, HEADINGS, template)
    return 0


def _summary(usage: DiskUsage) -> dict[str, Any]:
    return {
        "Type": usage.kind,
        "Total": usage.total,
        "Active": usage.active,
        "Size": usage.size_bytes,
        "Reclaimable": usage.reclaimable_bytes,
    }


def _row(usage: DiskUsage) -> dict[str, Any]:
    share = round(usage.reclaimable_bytes * 100 / usage.size_bytes) if usage.size_bytes else 0
    return _summary(usage) | {
        "Size": size_text(usage.size_bytes),
        "Reclaimable": f"{size_text(usage.reclaimable_bytes)} ({min(share, 100)}%)",
    }


def make_command() -> Any:
    return as_command(df, "df", examples=EXAMPLES)


COMMAND = make_command()
