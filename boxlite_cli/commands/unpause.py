"""`boxlite unpause`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each

EXAMPLES = """
  boxlite unpause web
  boxlite unpause web db
  boxlite unpause $(boxlite ls -q --filter status=paused)
"""


def unpause(
    boxes: Annotated[list[str], typer.Argument(metavar="BOX…")],
    result: ResultOptions,
    settings: Settings,
) -> int:
    """Let paused boxes run on.

    Prints each box as it was named.
    """
    return run_async(_unpause(settings, boxes, result.open()))


async def _unpause(settings: Settings, boxes: list[str], results: Results) -> int:
    async with settings.open_runtime() as runtime:

        async def act(ref: str) -> Outcome:
            return [ref], box_result(await runtime.unpause(ref))

        return await for_each(boxes, act, results, debug=settings.debug, as_json=settings.json)


COMMAND = as_command(unpause, "unpause", examples=EXAMPLES)
