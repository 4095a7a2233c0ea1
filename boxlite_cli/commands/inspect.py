"""`boxlite inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.failures import say
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.views import box_object, image_object
from engine.errors import ImageNotFoundError, InvalidArgumentError, NotFoundError
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
    missing: list[str] = []
    async with settings.open_runtime() as runtime:
        if not refs:
            newest = (await runtime.list_boxes(all=True))[:1]
            objects = [await _box(runtime, record, size) for record in newest]
            missing = [] if newest else ["there is no box yet"]
        for ref in refs:
            found = await _find(runtime, ref, kind, size)
            if found is None:
                missing.append(f"no such {kind or 'box'}: {ref}")
            else:
                objects.append(found)
    if how[0] is Format.TEMPLATE:
        output.print_template(how[1], objects, headings={})
    else:
        output.print_document(how[0], objects)
    for complaint in missing:
        say(f"Error: {complaint}")
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


async def _find(runtime: Runtime, ref: str, kind: str | None, size: bool) -> dict[str, Any] | None:
    record = await runtime.find(ref) if kind != "image" else None
    if record is not None:
        return await _box(runtime, record, size)
    if kind == "box":
        return None
    try:
        return image_object(await runtime.images.get(ref))
    except (NotFoundError, ImageNotFoundError):
        return None


COMMAND = as_command(inspect, "inspect", examples=EXAMPLES)
