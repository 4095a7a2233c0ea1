"""`boxlite rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.pruning import confirmed
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each
from engine.errors import InvalidArgumentError


def rm(
    result: ResultOptions,
    settings: Settings,
    boxes: Annotated[list[str] | None, typer.Argument(metavar="[BOX]…")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Also running boxes; ask nothing.")] = False,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Every box; asks first unless -f.")] = False,
    volumes: Annotated[bool, typer.Option("--volumes", "-v", help="Also their anonymous volumes.")] = False,
) -> int:
    """Remove boxes and what is on their disks.

    Prints the id of each box that was removed.
    """
    if bool(boxes) == all_:
        raise InvalidArgumentError("name boxes, or all of them with -a, but not both")
    return run_async(_rm(settings, boxes or [], force, volumes, result.open()))


async def _rm(settings: Settings, boxes: list[str], force: bool, volumes: bool, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        if not boxes:
            boxes = [record.id for record in await runtime.list_boxes(all=True)]
            if boxes and not force:
                what = "1 box and what is on its disk"
                if len(boxes) > 1:
                    what = f"{len(boxes)} boxes and what is on their disks"
                if not confirmed(f"Remove {what}?", command="rm -a"):
                    return 1

        async def act(ref: str) -> Outcome:
            record = await runtime.remove(ref, force=force, volumes=volumes)
            return [record.id], {"ID": record.id, "Name": record.name}

        return await for_each(boxes, act, results, debug=settings.debug, as_json=settings.json)


COMMAND = as_command(rm, "rm", examples="boxlite rm web\nboxlite rm -f web db\nboxlite rm -a")
