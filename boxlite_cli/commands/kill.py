"""`boxlite kill`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.parsers import parse_signal
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each

EXAMPLES = """
  boxlite kill web
  boxlite kill -s HUP web
  boxlite kill -s USR1 web db
"""


def kill(
    boxes: Annotated[list[str], typer.Argument(metavar="BOX…")],
    result: ResultOptions,
    settings: Settings,
    signal: Annotated[
        str, typer.Option("--signal", "-s", metavar="SIGNAL", help="Which one. [default: KILL]")
    ] = "KILL",
) -> int:
    """Send a signal to the main command of boxes.

    Prints each box as it was named.
    """
    return run_async(_kill(settings, boxes, parse_signal(signal), result.open()))


async def _kill(settings: Settings, boxes: list[str], signum: int, results: Results) -> int:
    async with settings.open_runtime() as runtime:

        async def act(ref: str) -> Outcome:
            record = await runtime.find(ref)
            await runtime.kill(ref, signum)
            return [ref], {} if record is None else box_result(record, Signal=signum)

        return await for_each(boxes, act, results, debug=settings.debug, as_json=settings.json)


COMMAND = as_command(kill, "kill", examples=EXAMPLES)
