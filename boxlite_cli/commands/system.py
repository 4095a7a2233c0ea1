"""`boxlite system`: the guest system, whether this host can run it, what it takes and what could go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command, as_group
from boxlite_cli.commands import df
from boxlite_cli.humane import size_text
from boxlite_cli.output import Format
from boxlite_cli.progress import progress_display
from boxlite_cli.pruning import PruneFilter, confirmed, parse_prune_filter, print_removed, reclaimed
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.model import Check, CheckStatus, Reclaimable

PUSH_EXAMPLES = """
  boxlite system guest push ghcr.io/owner/guest:1
  boxlite system guest push localhost:5000/guest:1
  boxlite system guest push -q ghcr.io/owner/guest:1
"""


DOCTOR_EXAMPLES = """
  boxlite system doctor
  boxlite system doctor --format json
  boxlite system doctor --home /srv/boxes
"""


SETUP_EXAMPLES = """
  boxlite system setup
  boxlite system setup --force
  boxlite system setup --from ghcr.io/owner/guest:1
"""


def setup(
    result: ResultOptions,
    settings: Settings,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="REF", help="Fetch it from a registry instead of building it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Put it together anew even if it is there.")] = False,
    no_progress: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Build or fetch the guest system that boxes run on.

    Prints its digest.
    """
    return run_async(_setup(settings, source, force, no_progress, result.open()))


async def _setup(settings: Settings, source: str | None, force: bool, quiet: bool, results: Results) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            digest = await runtime.setup_guest(from_ref=source, force=force)
    results.print_one([digest], {"Digest": digest})
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
    result: ResultOptions,
    settings: Settings,
    no_progress: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Publish the guest system as one artifact in a registry.

    Prints the artifact's digest; `boxlite system setup --from REF` fetches it.
    """
    return run_async(_push(settings, reference, no_progress, result.open()))


async def _push(settings: Settings, reference: str, quiet: bool, results: Results) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            digest = await runtime.push_guest(reference)
    results.print_one([digest], {"Name": reference, "Digest": digest})
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
            help="Of boxes: until=TIME (stopped before), label=KEY[=VALUE] or label!=…; repeatable.",
        ),
    ] = None,
) -> int:
    """Remove stopped boxes, images without a name, and whatever else nothing needs.

    Volumes stay. Prints what went and what that freed.
    """
    wanted = parse_prune_filter(filter_ or [])
    return run_async(_prune(settings, wanted, all_, force, dry_run, result.open()))


async def _prune(
    settings: Settings, wanted: PruneFilter, all_: bool, force: bool, dry_run: bool, results: Results
) -> int:
    async with settings.open_runtime() as runtime:
        boxes = [record for record in await runtime.prunable_boxes() if wanted.passes(record)]
        images = "every image no box is made from" if all_ else "every image without a name"
        question = f"Remove {len(boxes)} stopped boxes, {images}, and derived files nothing needs?"
        if not (force or dry_run or confirmed(question, command="system prune")):
            return 1
        sizes = [await runtime.box_size(record.id) for record in boxes]
        found = [
            Reclaimable(kind="boxes", path=record.name, size_bytes=size.own_bytes + size.log_bytes)
            for record, size in zip(boxes, sizes, strict=True)
        ]
        if not dry_run:
            removed = {record.name for record in (await runtime.prune_boxes(boxes))[0]}
            found = [item for item in found if item.path in removed]
        found += await runtime.images.prune(named_too=all_, dry_run=dry_run)
        found += await runtime.collect_garbage(dry_run=dry_run)
    freed = sum(item.size_bytes for item in found)
    print_removed(results, reclaimed(found), freed, lines=lambda: _print_table(found), dry_run=dry_run)
    return 0


def _print_table(found: Sequence[Reclaimable]) -> None:
    if found:
        rows = [(item.kind, size_text(item.size_bytes), item.path) for item in found]
        output.print_table(("KIND", "SIZE", "NAME"), rows)


PRUNE_EXAMPLES = """
  boxlite system prune --dry-run
  boxlite system prune
  boxlite system prune -a -f --filter until=7d
"""

COMMAND = as_group(
    "system",
    "Set up, check, measure and clean up this installation",
    {
        "setup": as_command(setup, "setup", examples=SETUP_EXAMPLES),
        "doctor": as_command(doctor, "doctor", examples=DOCTOR_EXAMPLES),
        "df": df.make_command(),
        "prune": as_command(prune, "prune", examples=PRUNE_EXAMPLES),
        "guest": as_group(
            "guest",
            "The guest system as an artifact",
            {"push": as_command(push, "push", examples=PUSH_EXAMPLES)},
        ),
    },
)
