"""`boxlite rmi`, also `image rm`."""

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
  boxlite rmi alpine:3.20
  boxlite rmi $(boxlite images -q --filter dangling=true)
  boxlite rmi -f 4f2c1a
"""


def rmi(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…")],
    result: ResultOptions,
    settings: Settings,
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-f", help="Also all names of an id, and the name of one that a box is made from."
        ),
    ] = False,
) -> int:
    """Remove names of images, and with the last name the image.

    An image that a box is made from is refused; with -f it loses its name and stays as long as the box.
    """
    return run_async(_rmi(settings, images, force, result.open()))


async def _rmi(settings: Settings, images: list[str], force: bool, results: Results) -> int:
    async with settings.open_runtime() as runtime:

        async def act(name: str) -> Outcome:
            removal = await runtime.images.remove(name, force=force)
            lines = [f"Untagged: {untagged}" for untagged in removal.untagged]
            lines += [f"Deleted: {digest}" for digest in removal.deleted]
            return lines, {
                "Name": name,
                "Untagged": list(removal.untagged),
                "Deleted": list(removal.deleted),
                "Freed": removal.freed_bytes,
            }

        return await for_each(images, act, results, at_once=1, debug=settings.debug, as_json=settings.json)


COMMAND = as_command(rmi, "rmi", examples=EXAMPLES)
