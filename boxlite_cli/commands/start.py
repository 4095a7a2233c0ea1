"""`boxlite start`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli import early
from boxlite_cli.command import as_command
from boxlite_cli.failures import NotATerminalError
from boxlite_cli.parsers import parse_detach_keys
from boxlite_cli.process_options import DEFAULT_DETACH_KEYS
from boxlite_cli.progress import progress_display
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import Holding, exit_code, hold, run_async
from boxlite_cli.settings import Settings
from boxlite_cli.targets import Outcome, for_each
from boxlite_cli.terminal import is_terminal, terminal_size
from engine.errors import InvalidArgumentError

EXAMPLES = """
  boxlite start web db
  boxlite start -ai shell
  boxlite start $(boxlite ls -aq --filter label=team=web)
"""


def start(
    boxes: Annotated[list[str], typer.Argument(metavar="BOX…")],
    result: ResultOptions,
    settings: Settings,
    attach: Annotated[
        bool, typer.Option("--attach", "-a", help="Show the output and wait for the end.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Pass standard input on; implies -a.")
    ] = False,
    detach_keys: Annotated[
        str, typer.Option("--detach-keys", metavar="KEYS", help="Keys that leave the box running.")
    ] = DEFAULT_DETACH_KEYS,
) -> int:
    """Start boxes that are not running.

    Prints each box as it was named. With -a there is one box, and its exit status is ours.
    """
    if not (attach or interactive):
        return run_async(_start_all(settings, boxes, result.open()))
    result.refuse_unless(False, meant_for="a start without -a and -i", as_json=settings.json)
    if len(boxes) != 1:
        raise InvalidArgumentError("only one box can be attached to at a time")
    return run_async(_start_attached(settings, boxes[0], interactive, parse_detach_keys(detach_keys)))


async def _start_all(settings: Settings, boxes: list[str], results: Results) -> int:
    with progress_display() as display:
        async with settings.open_runtime(display.show) as runtime:
            runtime.prepare_start(early.take())

            async def act(ref: str) -> Outcome:
                return [ref], box_result(await runtime.start(ref))

            return await for_each(boxes, act, results, debug=settings.debug, as_json=settings.json)


async def _start_attached(settings: Settings, box: str, interactive: bool, detach_keys: bytes) -> int:
    with progress_display() as display:
        async with settings.open_runtime(display.show) as runtime:
            runtime.prepare_start(early.take())
            record = await runtime.get(box)
            tty = record.spec.tty
            if tty and interactive and not is_terminal(0):
                raise NotATerminalError
            how = Holding(tty=tty, stdin=interactive, detach_keys=detach_keys)
            size = terminal_size() if tty else None
            async with runtime.start_attached(record.id, stdin=interactive, size=size) as execution:
                display.close()
                status = await hold(execution, how)
                if status is None:
                    await execution.release()
                    return 0
            if record.spec.auto_remove:
                await runtime.wait_removed(record)
    return exit_code(status)


COMMAND = as_command(start, "start", examples=EXAMPLES)
