"""`boxlite volume`: storage that outlives boxes."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command, as_group
from boxlite_cli.failures import report
from boxlite_cli.humane import rfc3339, size_text
from boxlite_cli.output import Format
from boxlite_cli.parsers import parse_labels
from boxlite_cli.pruning import confirmed, print_removed
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import BoxliteError, InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.model import Volume

COLUMNS = ("Driver", "Name", "Boxes", "Size")
HEADINGS = {
    "Driver": "DRIVER", "Name": "VOLUME NAME", "Boxes": "BOXES", "Size": "SIZE", "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS", "CreatedAt": "CREATED", "Scope": "SCOPE", "Anonymous": "ANONYMOUS",
}  # fmt: skip
FILTERS = ("name", "label", "dangling", "driver")


def create(
    result: ResultOptions,
    settings: Settings,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)] = None,
    name_option: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The same.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY[=VALUE]", help="Label it; repeatable.")
    ] = None,
    driver: Annotated[str, typer.Option("--driver", "-d", help="Only `local`.")] = "local",
) -> int:
    """Make a volume, and print its name.

    One of that name that is there is left as it is. Without NAME it is called by 64 random digits.
    """
    if driver != "local":
        raise InvalidArgumentError(f"volume driver {driver!r} is not there", hint="leave it out: `local` is")
    if name is not None and name_option is not None and name != name_option:
        raise InvalidArgumentError(f"the volume is called both {name!r} and {name_option!r}")
    labels = parse_labels(label or [], ())
    return run_async(_create(settings, name or name_option, labels, result.open()))


async def _create(settings: Settings, name: str | None, labels: dict[str, str], results: Results) -> int:
    async with settings.open_runtime() as runtime:
        made = await runtime.volumes.create(name, labels=labels)
        size_bytes = 0 if results.is_text else await runtime.volumes.size_bytes(made)
    results.print_one([made.name], volume_object(made, size_bytes))
    return 0


def ls(
    settings: Settings,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the names.")] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="name=PATTERN, label=KEY[=VALUE] or dangling=true|false; repeatable.",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="table, json, yaml or a template. [default: table]"),
    ] = None,
) -> int:
    """List volumes, with the boxes that mount them and what they take on disk."""
    output.check_quiet(quiet, format_)
    wanted = _filters(filter_ or [])
    return run_async(
        _ls(settings, wanted, quiet, output.parse_format(format_, tuple(Format), default=Format.TABLE))
    )


async def _ls(settings: Settings, wanted: list[tuple[str, str]], quiet: bool, how: tuple[Format, str]) -> int:
    async with settings.open_runtime() as runtime:
        volumes = [volume for volume in await runtime.volumes.list() if _passes(volume, wanted)]
        if quiet:
            output.print_lines(volume.name for volume in volumes)
            return 0
        objects = [volume_object(volume, await runtime.volumes.size_bytes(volume)) for volume in volumes]
    if how[0] in (Format.JSON, Format.YAML):
        output.print_document(how[0], objects)
    else:
        output.print_rows([_row(one) for one in objects], COLUMNS, HEADINGS, how[1])
    return 0


def inspect(
    names: Annotated[list[str], typer.Argument(metavar="VOLUME…")],
    settings: Settings,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="json, yaml or a template. [default: json]"),
    ] = None,
) -> int:
    """Show everything known about volumes.

    Prints a list, or a template once for each. What cannot be found is named on standard error, and the status is 1.
    """
    how = output.parse_format(format_, (Format.JSON, Format.YAML, Format.TEMPLATE), default=Format.JSON)
    return run_async(_inspect(settings, names, how))


async def _inspect(settings: Settings, names: Sequence[str], how: tuple[Format, str]) -> int:
    objects, missing = [], []
    async with settings.open_runtime() as runtime:
        for name in names:
            try:
                volume = await runtime.volumes.get(name)
                objects.append(volume_object(volume, await runtime.volumes.size_bytes(volume)))
            except NotFoundError as error:
                missing.append(error)
    if how[0] is Format.TEMPLATE:
        output.print_template(how[1], objects, headings={})
    else:
        output.print_document(how[0], objects)
    for failure in missing:
        report(failure, debug=settings.debug, as_json=settings.json)
    return 1 if missing else 0


def rm(
    names: Annotated[list[str], typer.Argument(metavar="VOLUME…")],
    result: ResultOptions,
    settings: Settings,
    force: Annotated[bool, typer.Option("--force", "-f", help="One that is not there is fine.")] = False,
) -> int:
    """Delete volumes with everything in them.

    One that a box mounts, running or not, stays. Prints the name of each that went.
    """
    return run_async(_rm(settings, names, force, result.open()))


async def _rm(settings: Settings, names: Sequence[str], force: bool, results: Results) -> int:
    status = 0
    async with settings.open_runtime() as runtime:
        for name in names:
            try:
                removed = await runtime.volumes.remove(name)
            except BoxliteError as error:
                if not (force and isinstance(error, NotFoundError)):
                    report(error, debug=settings.debug, as_json=settings.json)
                    status = 1
            else:
                results.add([removed.name], {"Name": removed.name})
    results.close()
    return status


def prune(
    result: ResultOptions,
    settings: Settings,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also those with a name.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Ask nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would go.")] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help="label=KEY[=VALUE] or name=PATTERN; repeatable."),
    ] = None,
) -> int:
    """Delete anonymous volumes that no box mounts, or with -a all that no box mounts.

    Prints the name of each that went, and what that freed.
    """
    wanted = _filters(filter_ or [])
    return run_async(_prune(settings, wanted, all_, force, dry_run, result.open()))


async def _prune(
    settings: Settings,
    wanted: list[tuple[str, str]],
    all_: bool,
    force: bool,
    dry_run: bool,
    results: Results,
) -> int:
    async with settings.open_runtime() as runtime:
        idle = [
            volume
            for volume in await runtime.volumes.list()
            if not volume.used_by and (all_ or volume.is_anonymous) and _passes(volume, wanted)
        ]
        if idle and not (force or dry_run):
            names = ", ".join(volume.name for volume in idle[:10]) + (", …" if len(idle) > 10 else "")
            if not confirmed(
                f"Delete {len(idle)} volumes and all in them ({names})?", command="volume prune"
            ):
                return 1
        gone = await runtime.volumes.prune(idle, dry_run=dry_run)
    print_removed(
        results,
        [{"Name": volume.name, "Size": size} for volume, size in gone],
        sum(size for _, size in gone),
        lines=lambda: output.print_lines(volume.name for volume, _ in gone),
        dry_run=dry_run,
    )
    return 0


def volume_object(volume: Volume, size_bytes: int) -> dict[str, Any]:
    return {
        "Name": volume.name,
        "Driver": "local",
        "Scope": "local",
        "Mountpoint": volume.path,
        "CreatedAt": rfc3339(volume.created_at),
        "Labels": volume.labels,
        "Anonymous": volume.is_anonymous,
        "Boxes": list(volume.used_by),
        "Size": size_bytes,
    }


def _row(shown: dict[str, Any]) -> dict[str, Any]:
    labels = ",".join(f"{key}={value}" for key, value in shown["Labels"].items())
    return shown | {"Boxes": ",".join(shown["Boxes"]), "Labels": labels, "Size": size_text(shown["Size"])}


def _filters(words: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in FILTERS:
            raise InvalidArgumentError(f"filter {word!r} is not KEY=VALUE with one of: {', '.join(FILTERS)}")
        if key == "dangling" and value not in ("true", "false", "1", "0"):
            raise InvalidArgumentError(f"filter {word!r}: dangling is true or false")
        found.append((key, value))
    return found


def _passes(volume: Volume, wanted: Sequence[tuple[str, str]]) -> bool:
    names = [value for key, value in wanted if key == "name"]
    if names and not any(value in volume.name or fnmatchcase(volume.name, value) for value in names):
        return False
    for key, value in wanted:
        name, equals, text = value.partition("=")
        if key == "label" and (name not in volume.labels or (equals and volume.labels[name] != text)):
            return False
        if key == "dangling" and (value in ("true", "1")) == bool(volume.used_by):
            return False
        if key == "driver" and value != "local":
            return False
    return True


COMMAND = as_group(
    "volume",
    "Storage that outlives boxes",
    {
        "create": as_command(
            create, "create", examples="boxlite volume create data\nboxlite run -v data:/data alpine"
        ),
        "ls": as_command(ls, "ls", examples="boxlite volume ls --filter dangling=true"),
        "inspect": as_command(inspect, "inspect", examples="boxlite volume inspect data"),
        "get": as_command(inspect, "get", examples="boxlite volume get data --format yaml"),
        "rm": as_command(rm, "rm", examples="boxlite volume rm data"),
        "prune": as_command(prune, "prune", examples="boxlite volume prune -a --filter label=scratch"),
    },
)
