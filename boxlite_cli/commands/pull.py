"""`boxlite pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.beside import hand_over
from boxlite_cli.command import as_command
from boxlite_cli.output import check_quiet
from boxlite_cli.parsers import parse_pull_policy
from boxlite_cli.pulling import PullOrder
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.settings import Settings

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
    result.open()
    order = PullOrder(
        settings=settings,
        reference=image,
        quiet=quiet,
        platform=platform,
        policy=asked,
        format_word=result.format_,
    )
    hand_over(order)
    return order.carry_out()


COMMAND = as_command(pull, "pull", examples=EXAMPLES)
