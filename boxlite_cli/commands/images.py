"""`boxlite images`, also `image ls`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.image_listing import ImageFilters, parse_image_filters, select_images
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.views import IMAGE_HEADINGS, image_row, image_summary

EXAMPLES = """
  boxlite images
  boxlite images --filter 'reference=ghcr.io/owner/*' --filter label=stage=test
  boxlite images --format '{{.Repository}}:{{.Tag}}'
"""


def images(
    settings: Settings,
    repository: Annotated[str | None, typer.Argument(metavar="[REPOSITORY[:TAG]]")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only full ids, each once.")] = False,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also images without a name.")] = False,
    digests: Annotated[bool, typer.Option("--digests", help="Show what the registry calls them.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Full ids in the table.")] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="dangling, reference, label, before, since or until; repeatable.",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """List images in the local store.

    An image without a name is one that a newer one took the name from.
    """
    output.check_quiet(quiet, format_)
    kind, template = output.parse_format(format_, tuple(Format), default=Format.TABLE)
    wanted = parse_image_filters(filter_ or [])
    columns = ("Repository", "Tag", *(("Digest",) if digests else ()), "ID", "CreatedAt", "Size")
    return run_async(_images(settings, wanted, repository, all_, quiet, no_trunc, columns, (kind, template)))


async def _images(
    settings: Settings,
    wanted: ImageFilters,
    repository: str | None,
    all_: bool,
    quiet: bool,
    no_trunc: bool,
    columns: tuple[str, ...],
    how: tuple[Format, str],
) -> int:
    async with settings.open_runtime() as runtime:
        found = select_images(await runtime.images.list(), wanted, repository=repository, nameless=all_)
    if quiet:
        output.print_lines(dict.fromkeys(image.config_digest for image in found))
    elif how[0] in (Format.JSON, Format.YAML):
        output.print_document(how[0], [image_summary(image) for image in found])
    else:
        rows = [image_row(image, full=no_trunc) for image in found]
        output.print_rows(rows, columns, IMAGE_HEADINGS, how[1])
    return 0


COMMAND = as_command(images, "images", examples=EXAMPLES)
