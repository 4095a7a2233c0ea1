"""`boxlite restart`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import early
from boxlite_cli.command import as_command
from boxlite_cli.parsers import parse_duration
from boxlite_cli.progress import progress_display
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each

EXAMPLES = """
  boxlite restart web
  boxlite restart -t 30s db
  boxlite restart $(boxlite ls -q)
"""


def restart(
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
    """Stop boxes and start them again.

    Prints each box as it was named.
    """
    return run_async(
        _restart(settings, boxes, None if timeout is None else parse_duration(timeout), result.open())
    )


async def _restart(settings: Settings, boxes: list[str], timeout_s: float | None, results: Results) -> int:
    with progress_display() as display:
        async with settings.open_runtime(display.show) as runtime:
            runtime.prepare_start(early.take())

            async def act(ref: str) -> Outcome:
                return [ref], box_result(await runtime.restart(ref, timeout_s=timeout_s))

            return await for_each(boxes, act, results, debug=settings.debug, as_json=settings.json)


COMMAND = as_command(restart, "restart", examples=EXAMPLES)
