"""`boxlite tag`, also `image tag`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, image_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings

EXAMPLES = """
  boxlite tag alpine:3.20 localhost/base:1
  boxlite tag 4f2c1a localhost/base:2
  boxlite tag localhost/web:1 ghcr.io/owner/web:1
"""


def tag(
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    name: Annotated[str, typer.Argument(metavar="NAME[:TAG]")],
    result: ResultOptions,
    settings: Settings,
) -> int:
    """Give an image one more name."""
    return run_async(_tag(settings, image, name, result.open()))


async def _tag(settings: Settings, image: str, name: str, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        tagged = await runtime.images.tag(image, name)
    results.print_one([], image_result(tagged))
    return 0


COMMAND = as_command(tag, "tag", examples=EXAMPLES)
