"""`boxlite wait`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each

EXAMPLES = """
  boxlite wait job
  boxlite wait job1 job2
  boxlite wait $(boxlite ls -q --filter label=batch=7)
"""


def wait(
    boxes: Annotated[list[str], typer.Argument(metavar="BOX…")],
    result: ResultOptions,
    settings: Settings,
) -> int:
    """Wait until boxes stop and print their exit codes.

    One line a box, in the order they were named.
    """
    return run_async(_wait(settings, boxes, result.open()))


async def _wait(settings: Settings, boxes: list[str], results: Results) -> int:
    async with settings.open_runtime() as runtime:

        async def act(ref: str) -> Outcome:
            record = await runtime.get(ref)
            code = await runtime.wait(record.id)
            return [str(code)], {"ID": record.id, "Name": record.name, "ExitCode": code}

        return await for_each(
            boxes, act, results, at_once=len(boxes), debug=settings.debug, as_json=settings.json
        )


COMMAND = as_command(wait, "wait", examples=EXAMPLES)
