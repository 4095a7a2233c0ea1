"""`boxlite prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.pruning import PruneFilter, confirmed, parse_prune_filter, print_removed
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings

EXAMPLES = """
  boxlite prune
  boxlite prune -f --filter until=24h --filter label!=keep
  boxlite prune -f --filter label=batch=7
"""


def prune(
    result: ResultOptions,
    settings: Settings,
    force: Annotated[bool, typer.Option("--force", "-f", help="Ask nothing.")] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="until=TIME (stopped before), label=KEY[=VALUE] or label!=…; repeatable.",
        ),
    ] = None,
) -> int:
    """Remove every box that has stopped.

    Boxes that were created and never started are kept. Prints the id of each box that was removed.
    """
    return run_async(_prune(settings, parse_prune_filter(filter_ or []), force, result.open()))


async def _prune(settings: Settings, wanted: PruneFilter, force: bool, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        boxes = [record for record in await runtime.prunable_boxes() if wanted.passes(record)]
        if boxes and not force:
            names = ", ".join(record.name for record in boxes[:10]) + (", …" if len(boxes) > 10 else "")
            if not confirmed(f"Remove {len(boxes)} stopped boxes ({names})?", command="prune"):
                return 1
        removed, freed = await runtime.prune_boxes(boxes)
    print_removed(
        results,
        [{"ID": record.id, "Name": record.name} for record in removed],
        freed,
        lines=lambda: output.print_lines(record.id for record in removed),
    )
    return 0


COMMAND = as_command(prune, "prune", examples=EXAMPLES)
