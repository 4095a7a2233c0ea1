"""`boxlite pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.output import check_quiet
from boxlite_cli.parsers import parse_pull_policy
from boxlite_cli.progress import progress_display
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, image_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.model import PullPolicy

EXAMPLES = """
  boxlite pull alpine:3.20
  boxlite pull --platform linux/arm64 ghcr.io/owner/image@sha256:…
  boxlite pull docker-daemon:web:1
"""


def pull(
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    result: ResultOptions,
    settings: Settings,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the image's id.")] = False,
    platform: Annotated[
        str | None,
        typer.Option("--platform", metavar="OS/ARCH", help="Platform to choose. [default: the host's]"),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            "--policy", metavar="always|missing|never", help="When to ask the registry. [default: always]"
        ),
    ] = "always",
) -> int:
    """Fetch an image from a registry, or from Docker or Podman on this host.

    docker-daemon:NAME and containers-storage:NAME take it from a Docker or a Podman. Prints its full name and digest.
    """
    check_quiet(quiet, result.format_)
    asked = parse_pull_policy(policy, option="policy")
    return run_async(_pull(settings, image, quiet, platform, asked, result.open()))


async def _pull(
    settings: Settings,
    reference: str,
    quiet: bool,
    platform: str | None,
    policy: PullPolicy,
    results: Results,
) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            image = await runtime.images.pull(reference, platform=platform, policy=policy)
    lines = [image.config_digest] if quiet else [image.reference, f"Digest: {image.source_digest}"]
    results.print_one(lines, image_result(image))
    return 0


COMMAND = as_command(pull, "pull", examples=EXAMPLES)
