"""`boxlite update`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.failures import warn
from boxlite_cli.parsers import (
    parse_cpus,
    parse_duration,
    parse_labels,
    parse_memory_mib,
    parse_restart,
    parse_signal,
)
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each
from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    from engine.runtime.changes import BoxChanges

EXAMPLES = """
  boxlite update --restart always --auto-stop 0 web
  boxlite update --label team=web --remove-label draft web db
  boxlite update --memory 1g --cpus 2 web                       while it is stopped
"""


def update(
    boxes: Annotated[list[str], typer.Argument(metavar="BOX…")],
    result: ResultOptions,
    settings: Settings,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Another name, for one box.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY[=VALUE]", help="Set a label; repeatable."),
    ] = None,
    remove_label: Annotated[
        list[str] | None,
        typer.Option("--remove-label", metavar="KEY", help="Take a label away; repeatable."),
    ] = None,
    cpus: Annotated[
        str | None, typer.Option("--cpus", metavar="N", help="Processors, of a stopped box.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", "-m", metavar="SIZE", help="Memory, of a stopped box.")
    ] = None,
    restart: Annotated[
        str | None,
        typer.Option("--restart", metavar="POLICY", help="no, on-failure[:N], always or unless-stopped."),
    ] = None,
    stop_signal: Annotated[
        str | None,
        typer.Option("--stop-signal", metavar="SIGNAL", help="Signal that asks the command to end."),
    ] = None,
    stop_timeout: Annotated[
        str | None, typer.Option("--stop-timeout", metavar="DURATION", help="How long it may take to end.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout", metavar="DURATION", help="Stop the box this long after it started; 0: never."
        ),
    ] = None,
    auto_stop: Annotated[
        str | None,
        typer.Option(
            "--auto-stop", metavar="DURATION", help="Stop it when nothing happened for this long; 0: never."
        ),
    ] = None,
    auto_delete: Annotated[
        str | None,
        typer.Option(
            "--auto-delete", metavar="DURATION", help="Remove it when stopped for this long; 0: never."
        ),
    ] = None,
) -> int:
    """Change what boxes were asked to be.

    Labels, deadlines and the restart policy change at once, also of a running box. Prints each box as it was named.
    """
    from engine.runtime.changes import BoxChanges

    if name is not None and len(boxes) != 1:
        raise InvalidArgumentError("--name is for one box")
    whole, warning = parse_cpus(cpus) if cpus is not None else (None, None)
    if warning:
        warn(warning)
    if stop_signal is not None:
        parse_signal(stop_signal)
    changes = BoxChanges(
        cpus=whole,
        memory_mib=None if memory is None else parse_memory_mib(memory),
        labels=parse_labels(label, ()) if label else None,
        remove_labels=tuple(remove_label or ()),
        stop_signal=stop_signal,
        stop_timeout_s=_seconds(stop_timeout),
        timeout_s=_seconds(timeout),
        auto_stop_s=_seconds(auto_stop),
        auto_delete_s=_seconds(auto_delete),
        restart=None if restart is None else parse_restart(restart),
    )
    if name is None and changes == BoxChanges():
        raise InvalidArgumentError("nothing to change was given")
    return run_async(_update(settings, boxes, changes, name, result.open()))


def _seconds(word: str | None) -> float | None:
    return None if word is None else parse_duration(word)


async def _update(
    settings: Settings, boxes: list[str], changes: BoxChanges, name: str | None, results: Results
) -> int:
    async with settings.open_runtime() as runtime:

        async def act(ref: str) -> Outcome:
            record = await runtime.update(ref, changes)
            if name is not None:
                record = await runtime.rename(record.id, name)
            return [ref], box_result(record)

        return await for_each(boxes, act, results, debug=settings.debug, as_json=settings.json)


COMMAND = as_command(update, "update", examples=EXAMPLES)
