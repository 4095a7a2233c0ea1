"""`boxlite images`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.views import IMAGE_HEADINGS, image_row, image_summary

COLUMNS = ("Repository", "Tag", "ID", "CreatedAt", "Size")


def images(
    settings: Settings,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only full ids.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Full ids in the table.")] = False,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """List images in the local store."""
    output.check_quiet(quiet, format_)
    return run_async(_images(settings, quiet, no_trunc, format_))


async def _images(settings: Settings, quiet: bool, no_trunc: bool, format_word: str | None) -> int:
    kind, template = output.parse_format(format_word, tuple(Format), default=Format.TABLE)
    async with settings.open_runtime() as runtime:
        found = await runtime.list_images()
    if quiet:
        output.print_lines(image.config_digest for image in found)
    elif kind in (Format.JSON, Format.YAML):
        output.print_document(kind, [image_summary(image) for image in found])
    else:
        rows = [image_row(image, full=no_trunc) for image in found]
        output.print_rows(rows, COLUMNS, IMAGE_HEADINGS, template)
    return 0


COMMAND = as_command(
    images, "images", examples="boxlite images\nboxlite images --format '{{.Repository}}:{{.Tag}}'"
)
