"""`boxlite why`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.humane import rfc3339, status_text
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings

if TYPE_CHECKING:
    from engine.runtime.examination import Examination, Stage

EXAMPLES = """
  boxlite why web
  boxlite why --format json web
  boxlite why --json web
"""


def why(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    settings: Settings,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="table, json or yaml. [default: table]"),
    ] = None,
) -> int:
    """Explain why a box is as it is.

    Prints the likely cause and what to do next, how far its last start came and how long each stage took, the last lines of
    its machine's logs, and what of the host matters. Nothing is started or changed.
    """
    kind, _ = output.parse_format(format_, (Format.TABLE, Format.JSON, Format.YAML), default=Format.TABLE)
    return run_async(_why(settings, box, kind))


async def _why(settings: Settings, box: str, kind: Format) -> int:
    async with settings.open_runtime() as runtime:
        found = await runtime.examine(box)
    if kind is Format.TABLE:
        output.print_lines(_lines(found))
    else:
        output.print_document(kind, _document(found))
    return 0


def _lines(found: Examination) -> Iterator[str]:
    record, diagnosis = found.record, found.diagnosis
    yield f"box {record.name} ({record.short_id}): {status_text(record)}"
    yield f"cause:  {diagnosis.cause}"
    yield f"next:   {diagnosis.next_step}"
    measured = [stage for stage in found.stages if stage.took_ms is not None]
    if measured:
        yield ""
        yield "last start:"
        rows = [(f"  {stage.title}", _took(stage)) for stage in found.stages]
        yield from output.aligned(rows)
    for tail in found.tails:
        yield ""
        yield f"{tail.name} ({tail.path}):"
        yield from (f"  {line}" for line in tail.lines)
    yield ""
    yield "host:"
    yield from output.aligned([(f"  {name}", fact) for name, fact in found.facts.items()])


def _took(stage: Stage) -> str:
    if stage.took_ms is None:
        return "not reached"
    return f"{stage.took_ms:.0f} ms{', failed' if stage.failed else ''}"


def _document(found: Examination) -> dict[str, Any]:
    record, failure = found.record, found.failure
    return {
        "ID": record.id,
        "Name": record.name,
        "Status": str(record.status),
        "Reason": record.state.reason,
        "ExitCode": record.state.exit_code,
        "Cause": found.diagnosis.cause,
        "Next": found.diagnosis.next_step,
        "Fine": found.diagnosis.is_fine,
        "StartedAt": rfc3339(record.state.started_at),
        "FailedStart": None
        if failure is None
        else {
            "Time": rfc3339(failure.happened_at),
            "Stage": failure.stage.removesuffix("_ms"),
            "Code": failure.code,
            "Message": failure.message,
            "Hint": failure.hint,
        },
        "Stages": [
            {"Name": stage.name.removesuffix("_ms"), "Milliseconds": stage.took_ms, "Failed": stage.failed}
            for stage in found.stages
        ],
        "Logs": [{"Name": one.name, "Path": str(one.path), "Lines": list(one.lines)} for one in found.tails],
        "Host": found.facts,
    }


COMMAND = as_command(why, "why", examples=EXAMPLES)
