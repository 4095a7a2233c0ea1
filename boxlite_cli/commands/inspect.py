"""`boxlite inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.failures import report
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.views import box_object, image_object
from engine.errors import BoxliteError, ImageNotFoundError, InvalidArgumentError, NotFoundError
from engine.model import BoxRecord
from engine.runtime.jail_record import find_jail

if TYPE_CHECKING:
    from engine.runtime import Runtime

KINDS = ("box", "image")
EXAMPLES = """
  boxlite inspect web
  boxlite inspect -f '{{.State.Status}} {{range .Network.Ports}}{{.HostPort}} {{end}}' web
  boxlite inspect --format yaml --type image alpine:3.20
"""


def inspect(
    settings: Settings,
    refs: Annotated[list[str] | None, typer.Argument(metavar="[BOX|IMAGE]…")] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="json, yaml or a template. [default: json]"),
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", "-l", help="The box that was created last.")] = False,
    size: Annotated[
        bool, typer.Option("--size", "-s", help="Also what each box takes on disk (SizeRw, SizeRootFs).")
    ] = False,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="box|image", help="Look only among these. [default: both]")
    ] = None,
) -> int:
    """Show everything known about boxes or images.

    Prints a list, or a template once for each. What cannot be found is named on standard error, and the status is 1.
    """
    if latest == bool(refs):
        raise InvalidArgumentError("name something to inspect, or take the newest box with -l, but not both")
    if kind is not None and kind not in KINDS:
        raise InvalidArgumentError(f"type is box or image, not {kind!r}")
    format_and_template = output.parse_format(
        format_, (Format.JSON, Format.YAML, Format.TEMPLATE), default=Format.JSON
    )
    return run_async(_inspect(settings, refs or [], kind, size, format_and_template))


async def _inspect(
    settings: Settings, refs: list[str], kind: str | None, size: bool, how: tuple[Format, str]
) -> int:
    objects: list[dict[str, Any]] = []
    missing: list[BoxliteError] = []
    async with settings.open_runtime() as runtime:
        if not refs:
            newest = (await runtime.list_boxes(all=True))[:1]
            objects = [await _box(runtime, record, size) for record in newest]
            missing = [] if newest else [NotFoundError("there is no box yet", hint="boxlite run IMAGE")]
        for ref in refs:
            try:
                objects.append(await _get(runtime, ref, kind, size))
            except (NotFoundError, ImageNotFoundError) as error:
                missing.append(error)
    if how[0] is Format.TEMPLATE:
        output.print_template(how[1], objects, headings={})
    else:
        output.print_document(how[0], objects)
    for complaint in missing:
        report(complaint, debug=settings.debug, as_json=settings.json)
    return 1 if missing else 0


async def _box(runtime: Runtime, record: BoxRecord, size: bool) -> dict[str, Any]:
    shown = box_object(record)
    shown["Security"]["Jail"] = find_jail(runtime.layout, record)
    if not size:
        return shown
    taken = await runtime.box_size(record.id)
    return shown | {
        "SizeRw": taken.own_bytes,
        "SizeRootFs": taken.own_bytes + taken.base_bytes,
        "SizeLogs": taken.log_bytes,
    }


async def _get(runtime: Runtime, ref: str, kind: str | None, size: bool) -> dict[str, Any]:
    """Raises NotFoundError, for an image ImageNotFoundError."""
    if kind == "image":
        return image_object(await runtime.images.get(ref))
    try:
        return await _box(runtime, await runtime.get(ref), size)
    except NotFoundError as no_box:
        if kind == "box":
            raise
        try:
            return image_object(await runtime.images.get(ref))
        except ImageNotFoundError as no_image:
            hint = no_image.hint or ""
            if hint.startswith("did you mean") and not (no_box.hint or "").startswith("did you mean"):
                no_box.hint = hint
            raise no_box from None


COMMAND = as_command(inspect, "inspect", examples=EXAMPLES)
