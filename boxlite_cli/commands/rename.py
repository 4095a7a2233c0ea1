"""`boxlite rename`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings

EXAMPLES = """
  boxlite rename brave_lynx web
  boxlite rename web web-old
  boxlite rename $(boxlite ls -lq) newest
"""


def rename(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME")],
    result: ResultOptions,
    settings: Settings,
) -> int:
    """Give a box another name."""
    return run_async(_rename(settings, box, new_name, result.open()))


async def _rename(settings: Settings, box: str, new_name: str, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        record = await runtime.rename(box, new_name)
    results.print_one([], box_result(record))
    return 0


COMMAND = as_command(rename, "rename", examples=EXAMPLES)
