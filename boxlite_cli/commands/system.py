"""`boxlite system`: the guest system, and whether this host can run it."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command, as_group
from boxlite_cli.output import Format
from boxlite_cli.progress import progress_display
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.model import Check, CheckStatus


def setup(
    settings: Settings,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="REF", help="Fetch it from a registry instead of building it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make it anew even if it is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Build or fetch the guest system that boxes run on.

    Prints its digest.
    """
    return run_async(_setup(settings, source, force, quiet))


async def _setup(settings: Settings, source: str | None, force: bool, quiet: bool) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            digest = await runtime.setup_guest(from_ref=source, force=force)
    typer.echo(digest)
    return 0


def doctor(
    settings: Settings,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="table, json or yaml. [default: table]"),
    ] = None,
) -> int:
    """Check whether boxes can run here, and say what to do where they cannot.

    The status is 1 when something fails.
    """
    kind, _ = output.parse_format(format_, (Format.TABLE, Format.JSON, Format.YAML), default=Format.TABLE)
    return run_async(_doctor(settings, kind))


async def _doctor(settings: Settings, kind: Format) -> int:
    async with settings.open_runtime() as runtime:
        checks = await runtime.doctor()
    if kind is Format.TABLE:
        output.print_table(("STATUS", "CHECK", "DETAIL"), [row for check in checks for row in _rows(check)])
    else:
        output.print_document(kind, [_document(check) for check in checks])
    return 1 if any(check.status is CheckStatus.FAILED for check in checks) else 0


def _rows(check: Check) -> list[tuple[str, str, str]]:
    first = (str(check.status), check.name, check.detail)
    return [first, ("", "", f"→ {check.remedy}")] if check.remedy else [first]


def _document(check: Check) -> dict[str, str]:
    return {"Name": check.name, "Status": str(check.status), "Detail": check.detail, "Remedy": check.remedy}


def push(
    reference: Annotated[str, typer.Argument(metavar="REF")],
    settings: Settings,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Publish the guest system as one artifact in a registry.

    Prints the artifact's digest; `boxlite system setup --from REF` fetches it.
    """
    return run_async(_push(settings, reference, quiet))


async def _push(settings: Settings, reference: str, quiet: bool) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            digest = await runtime.push_guest(reference)
    typer.echo(digest)
    return 0


COMMAND = as_group(
    "system",
    "Set up, check and publish the guest system",
    {
        "setup": as_command(setup, "setup", examples="boxlite system setup"),
        "doctor": as_command(doctor, "doctor", examples="boxlite system doctor --format json"),
        "guest": as_group(
            "guest",
            "The guest system as an artifact",
            {"push": as_command(push, "push", examples="boxlite system guest push ghcr.io/owner/guest:1")},
        ),
    },
)
