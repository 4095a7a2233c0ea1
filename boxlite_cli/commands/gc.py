"""`boxlite gc`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.humane import size_text
from boxlite_cli.pruning import print_removed, reclaimed
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.model import Reclaimable

EXAMPLES = """
  boxlite gc --dry-run
  boxlite gc
  boxlite gc --home /srv/boxes
"""


def gc(
    result: ResultOptions,
    settings: Settings,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would go.")] = False,
) -> int:
    """Delete what nothing needs: disks and machines that are made again, what killed commands left.

    Boxes, images and volumes are not touched. Prints what went, and what that freed.
    """
    return run_async(_gc(settings, dry_run, result.open()))


async def _gc(settings: Settings, dry_run: bool, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        found = await runtime.collect_garbage(dry_run=dry_run)
    freed = sum(item.size_bytes for item in found)
    print_removed(results, reclaimed(found), freed, lines=lambda: _print_table(found), dry_run=dry_run)
    return 0


def _print_table(found: Sequence[Reclaimable]) -> None:
    if found:
        rows = [(item.kind, size_text(item.size_bytes), item.path) for item in found]
        output.print_table(("KIND", "SIZE", "PATH"), rows)


COMMAND = as_command(gc, "gc", examples=EXAMPLES)
