"""`boxlite attach`."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.failures import NotATerminalError
from boxlite_cli.parsers import parse_detach_keys
from boxlite_cli.process_options import DEFAULT_DETACH_KEYS
from boxlite_cli.session import Holding, exit_code, hold, run_async
from boxlite_cli.settings import Settings
from boxlite_cli.terminal import is_terminal

EXAMPLES = """
  boxlite attach shell
  boxlite attach --no-stdin web
  boxlite attach web 3f9c2a
  boxlite attach --detach-keys ctrl-x shell
"""


def attach(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    settings: Settings,
    execution: Annotated[
        str | None, typer.Argument(metavar="[EXEC_ID]", help="A command of exec, as `boxlite top` shows it.")
    ] = None,
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Only watch.")] = False,
    sig_proxy: Annotated[
        bool,
        typer.Option(
            "--sig-proxy/--no-sig-proxy", help="Pass signals on to the command.", show_default=False
        ),
    ] = True,
    detach_keys: Annotated[
        str, typer.Option("--detach-keys", metavar="KEYS", help="Keys that leave the box running.")
    ] = DEFAULT_DETACH_KEYS,
) -> int:
    """Connect to the main command of a running box, or to one that exec started.

    What it printed last (up to 256 KiB of output and as much of errors) comes first. Its exit status is ours; it goes on
    running when we leave it with ctrl-p,ctrl-q.
    """
    keys = parse_detach_keys(detach_keys)
    return run_async(_attach(settings, box, execution, no_stdin, sig_proxy, keys))


async def _attach(
    settings: Settings, box: str, execution_id: str | None, no_stdin: bool, sig_proxy: bool, keys: bytes
) -> int:
    async with settings.open_runtime() as runtime, runtime.attach(box, execution_id) as execution:
        stdin = execution.takes_input and not no_stdin
        if execution.tty and stdin and not is_terminal(0):
            raise NotATerminalError
        how = Holding(tty=execution.tty, stdin=stdin, detach_keys=keys, forward_signals=sig_proxy)
        status = await hold(execution, how)
    return 0 if status is None else exit_code(status)


COMMAND = as_command(attach, "attach", examples=EXAMPLES)
