"""`boxlite stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.parsers import parse_duration
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each

EXAMPLES = """
  boxlite stop web
  boxlite stop -t 1m db
  boxlite stop $(boxlite ls -q)
"""


def stop(
    boxes: Annotated[list[str], typer.Argument(metavar="BOX…")],
    result: ResultOptions,
    settings: Settings,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            "--time",
            "-t",
            metavar="DURATION",
            help="Grace before it is killed. [default: the box's own]",
        ),
    ] = None,
) -> int:
    """Stop running boxes.

    Asks the main command to end, and kills it after the grace. Prints each box as it was named.
    """
    return run_async(
        _stop(settings, boxes, None if timeout is None else parse_duration(timeout), result.open())
    )


async def _stop(settings: Settings, boxes: list[str], timeout_s: float | None, results: Results) -> int:
    async with settings.open_runtime() as runtime:

        async def act(ref: str) -> Outcome:
            return [ref], box_result(await runtime.stop(ref, timeout_s=timeout_s))

        return await for_each(boxes, act, results, debug=settings.debug, as_json=settings.json)


COMMAND = as_command(stop, "stop", examples=EXAMPLES)
