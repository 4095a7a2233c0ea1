"""`boxlite logout`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.failures import say
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings

EXAMPLES = """
  boxlite logout
  boxlite logout ghcr.io
  boxlite logout registry.example.com:5000
"""


def logout(
    result: ResultOptions,
    settings: Settings,
    host: Annotated[str, typer.Argument(metavar="[REGISTRY]")] = "docker.io",
) -> int:
    """Forget the password of a registry that login kept.

    Credentials of Docker and Podman are left alone. Without REGISTRY: Docker Hub.
    """
    return run_async(_logout(settings, host, result.open()))


async def _logout(settings: Settings, registry: str, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        known = await runtime.images.log_out(registry)
    if results.is_text:
        say(f"forgot the login to {registry}" if known else f"not logged in to {registry}")
    results.print_one([], {"Registry": registry, "Forgotten": known})
    return 0


COMMAND = as_command(logout, "logout", examples=EXAMPLES)
