"""`boxlite image`: everything about images under one noun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command, as_group
from boxlite_cli.commands import images, import_image, load, pull, rmi, save, tag
from boxlite_cli.failures import report
from boxlite_cli.humane import size_text
from boxlite_cli.image_listing import ImageFilters, parse_image_filters, select_images
from boxlite_cli.output import Format
from boxlite_cli.pruning import confirmed, print_removed, reclaimed
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.views import HISTORY_HEADINGS, history_object, history_row, image_object
from engine.errors import ImageNotFoundError
from engine.model import Reclaimable

PRUNE_EXAMPLES = """
  boxlite image prune --dry-run
  boxlite image prune -a --filter until=720h
  boxlite image prune -f
"""


HISTORY_EXAMPLES = """
  boxlite image history alpine:3.20
  boxlite image history --no-trunc alpine:3.20
  boxlite image history --format json alpine:3.20
"""


INSPECT_EXAMPLES = """
  boxlite image inspect alpine:3.20
  boxlite image inspect -f '{{.Config.Cmd}}' alpine:3.20
  boxlite image inspect --format yaml alpine:3.20
"""


PRUNE_FILTERS = ("until", "label", "reference")
HISTORY_COLUMNS = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")


def inspect(
    names: Annotated[list[str], typer.Argument(metavar="IMAGE…")],
    settings: Settings,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="json, yaml or a template. [default: json]"),
    ] = None,
) -> int:
    """Show everything known about images.

    Prints a list, or a template once for each. What cannot be found is named on standard error, and the status is 1.
    """
    how = output.parse_format(format_, (Format.JSON, Format.YAML, Format.TEMPLATE), default=Format.JSON)
    return run_async(_inspect(settings, names, how))


async def _inspect(settings: Settings, names: list[str], how: tuple[Format, str]) -> int:
    objects, missing = [], []
    async with settings.open_runtime() as runtime:
        for name in names:
            try:
                objects.append(image_object(await runtime.images.get(name)))
            except ImageNotFoundError as error:
                missing.append(error)
    if how[0] is Format.TEMPLATE:
        output.print_template(how[1], objects, headings={})
    else:
        output.print_document(how[0], objects)
    for failure in missing:
        report(failure, debug=settings.debug, as_json=settings.json)
    return 1 if missing else 0


def history(
    name: Annotated[str, typer.Argument(metavar="IMAGE")],
    settings: Settings,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the layers' digests.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Shorten nothing.")] = False,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """Show the steps that made an image, the last one first."""
    output.check_quiet(quiet, format_)
    how = output.parse_format(format_, tuple(Format), default=Format.TABLE)
    return run_async(_history(settings, name, quiet, no_trunc, how))


async def _history(
    settings: Settings, name: str, quiet: bool, no_trunc: bool, how: tuple[Format, str]
) -> int:
    async with settings.open_runtime() as runtime:
        steps = await runtime.images.history(name)
    if quiet:
        output.print_lines(step.layer_digest or "<none>" for step in steps)
    elif how[0] in (Format.JSON, Format.YAML):
        output.print_document(how[0], [history_object(step) for step in steps])
    else:
        rows = [history_row(step, full=no_trunc) for step in steps]
        output.print_rows(rows, HISTORY_COLUMNS, HISTORY_HEADINGS, how[1])
    return 0


def prune(
    result: ResultOptions,
    settings: Settings,
    all_: Annotated[
        bool, typer.Option("--all", "-a", help="Also images with a name that no box is made from.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Ask nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would go.")] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="until=AGE (older than), label=KEY[=VALUE] or reference=PATTERN; repeatable.",
        ),
    ] = None,
) -> int:
    """Remove images without a name, or with -a all that no box is made from.

    Prints what went and what that freed.
    """
    wanted = parse_image_filters(filter_ or [], allowed=PRUNE_FILTERS)
    return run_async(_prune(settings, wanted, all_, force, dry_run, result.open()))


async def _prune(
    settings: Settings, wanted: ImageFilters, all_: bool, force: bool, dry_run: bool, results: Results
) -> int:
    async with settings.open_runtime() as runtime:
        keep: set[str] = set()
        if wanted.by_key:
            known = await runtime.images.list()
            passing = {image.manifest_digest for image in select_images(known, wanted, nameless=True)}
            keep = {image.manifest_digest for image in known} - passing
        found = await runtime.images.prune(named_too=all_, keep=keep, dry_run=True)
        if found and not dry_run:
            question = f"Remove {len(found)} images ({', '.join(item.path for item in found[:10])})?"
            if not (force or confirmed(question, command="image prune")):
                return 1
            found = await runtime.images.prune(named_too=all_, keep=keep)
    freed = sum(item.size_bytes for item in found)
    print_removed(results, reclaimed(found), freed, lines=lambda: _print_table(found), dry_run=dry_run)
    return 0


def _print_table(found: Sequence[Reclaimable]) -> None:
    if found:
        output.print_table(("SIZE", "IMAGE"), [(size_text(item.size_bytes), item.path) for item in found])


COMMAND = as_group(
    "image",
    "Look at images and clean them up",
    {
        "ls": images.COMMAND,
        "inspect": as_command(inspect, "inspect", examples=INSPECT_EXAMPLES),
        "history": as_command(history, "history", examples=HISTORY_EXAMPLES),
        "prune": as_command(prune, "prune", examples=PRUNE_EXAMPLES),
        "pull": pull.COMMAND,
        "tag": tag.COMMAND,
        "rm": rmi.COMMAND,
        "load": load.COMMAND,
        "save": save.COMMAND,
        "import": import_image.COMMAND,
    },
)
