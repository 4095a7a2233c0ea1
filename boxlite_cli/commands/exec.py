"""`boxlite exec`: a further command in a box."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.exec_options import build_exec_spec, check_terminal
from boxlite_cli.parsers import parse_detach_keys
from boxlite_cli.process_options import EnvironmentOptions, TerminalOptions
from boxlite_cli.progress import progress_display
from boxlite_cli.session import Holding, exit_code, hold, run_async
from boxlite_cli.settings import Settings
from boxlite_cli.terminal import terminal_size
from engine.errors import InvalidArgumentError
from engine.model import ExecSpec

EXAMPLES = """
  boxlite exec web nginx -s reload
  boxlite exec -it web sh
  boxlite exec -e LEVEL=debug -w /srv web -- ./check --all
"""


def exec_(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    words: Annotated[list[str], typer.Argument(metavar="COMMAND…")],
    terminal: TerminalOptions,
    environment: EnvironmentOptions,
    settings: Settings,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start the command and return at once.")
    ] = False,
    privileged: Annotated[
        bool, typer.Option("--privileged", help="Give the command every capability.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="DURATION", help="Kill the command after this long.")
    ] = None,
) -> int:
    """Run a further command in a box.

    Exits with the command's own status, as `boxlite run` does. Options stand before BOX; `--` in front of the command
    is allowed.
    """
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise InvalidArgumentError("no command given")
    check_terminal(terminal, detach=detach, needed_when_detached=False)
    if terminal.tty and not detach:
        terminal = replace(terminal, interactive=True)
    spec = build_exec_spec(
        words,
        environment,
        terminal,
        size=terminal_size(),
        privileged=privileged,
        timeout=timeout,
        detach=detach,
    )
    how = Holding(
        tty=terminal.tty, stdin=terminal.interactive, detach_keys=parse_detach_keys(terminal.detach_keys)
    )
    return run_async(_exec(settings, box, spec, how))


async def _exec(settings: Settings, box: str, spec: ExecSpec, how: Holding) -> int:
    with progress_display() as display:
        async with settings.open_runtime(display.show) as runtime:
            if spec.detach:
                await runtime.exec_detached(box, spec)
                return 0
            async with runtime.exec(box, spec) as execution:
                display.close()
                status = await hold(execution, how)
                if status is None:
                    await execution.release()
                    return 0
    return exit_code(status)


COMMAND = as_command(exec_, "exec", words_end_options=True, failure_status=125, examples=EXAMPLES)
