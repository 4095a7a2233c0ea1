"""`boxlite prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.pruning import PruneFilter, confirmed, parse_prune_filter, say_freed
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings

EXAMPLES = """
  boxlite prune
  boxlite prune -f --filter until=24h --filter label!=keep
  boxlite prune -f --filter label=batch=7
"""


def prune(
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
    return run_async(_prune(settings, parse_prune_filter(filter_ or []), force))


async def _prune(settings: Settings, wanted: PruneFilter, force: bool) -> int:
    async with settings.open_runtime() as runtime:
        boxes = [record for record in await runtime.prunable_boxes() if wanted.passes(record)]
        if boxes and not force:
            names = ", ".join(record.name for record in boxes[:10]) + (", …" if len(boxes) > 10 else "")
            if not confirmed(f"Remove {len(boxes)} stopped boxes ({names})?", command="prune"):
                return 1
        removed, freed = await runtime.prune_boxes(boxes)
    output.print_lines(record.id for record in removed)
    say_freed(freed)
    return 0


COMMAND = as_command(prune, "prune", examples=EXAMPLES)
