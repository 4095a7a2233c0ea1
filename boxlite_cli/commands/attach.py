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
  boxlite attach --detach-keys ctrl-x shell
"""


def attach(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    settings: Settings,
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
    """Connect to the main command of a running box.

    Its exit status is ours; the box goes on running when we leave it with ctrl-p,ctrl-q.
    """
    return run_async(_attach(settings, box, no_stdin, sig_proxy, parse_detach_keys(detach_keys)))


async def _attach(settings: Settings, box: str, no_stdin: bool, sig_proxy: bool, detach_keys: bytes) -> int:
    async with settings.open_runtime() as runtime:
        record = await runtime.get(box)
        stdin = record.spec.stdin_open and not no_stdin
        if record.spec.tty and stdin and not is_terminal(0):
            raise NotATerminalError
        how = Holding(tty=record.spec.tty, stdin=stdin, detach_keys=detach_keys, forward_signals=sig_proxy)
        async with runtime.attach(record.id) as execution:
            status = await hold(execution, how)
    return 0 if status is None else exit_code(status)


COMMAND = as_command(attach, "attach", examples=EXAMPLES)
