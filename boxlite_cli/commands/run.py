"""`boxlite run`: create a box, start it, and be its command until it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from boxlite_cli import early
from boxlite_cli.command import as_command
from boxlite_cli.exec_options import check_terminal
from boxlite_cli.failures import say
from boxlite_cli.idfile import new_id_file
from boxlite_cli.option_groups import BoxOptions, IdentityOptions
from boxlite_cli.options import build_box_spec, secret_values
from boxlite_cli.parsers import parse_detach_keys, parse_pull_policy
from boxlite_cli.process_options import TerminalOptions
from boxlite_cli.progress import Display, progress_display
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import Holding, exit_code, hold, run_async
from boxlite_cli.settings import Settings
from boxlite_cli.terminal import terminal_size
from engine.errors import BoxliteError, NotFoundError
from engine.model import BoxRecord, BoxSpec, PullPolicy

if TYPE_CHECKING:
    from engine.runtime import Runtime

EXAMPLES = """
  boxlite run --rm alpine:3.20 uname -r
  echo hello | boxlite run --rm -i alpine:3.20 tr a-z A-Z
  boxlite run -it --rm -v ./src:/src -w /src python:3.12-slim bash
  boxlite run -d --name web -p 8080:80 nginx
  boxlite run --rm --secret OPENAI_API_KEY,host=api.openai.com python:3.12 python agent.py
  boxlite run --plan -p 8080:80 nginx
"""


def run(
    terminal: TerminalOptions,
    options: BoxOptions,
    result: ResultOptions,
    settings: Settings,
    words: Annotated[list[str] | None, typer.Argument(metavar="IMAGE [COMMAND]…")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave the box running and print its id.")
    ] = False,
    remove: Annotated[bool, typer.Option("--rm", help="Remove the box when it stops.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only show what would happen; nothing is started or pulled.")
    ] = False,
    sig_proxy: Annotated[
        bool,
        typer.Option(
            "--sig-proxy/--no-sig-proxy", help="Pass signals on to the command.", show_default=False
        ),
    ] = True,
) -> int:
    """Create a box from an image and run a command in it.

    Exits with the command's own status, or 128+N when signal N ended it; 125 when it is BoxLite that failed, 126 and
    127 when the command cannot be run or found. Options stand before IMAGE: what follows it belongs to the
    command.
    """
    result.refuse_unless(detach or plan, meant_for="-d and --plan", as_json=settings.json)
    if not plan:
        check_terminal(terminal, detach=detach, needed_when_detached=True)
    spec = build_box_spec(options, words or [], terminal=terminal, auto_remove=remove, detach=detach)
    if plan:
        return run_async(
            _plan(settings, options.identity, spec, parse_pull_policy(options.image.pull), result)
        )
    how = Holding(
        tty=terminal.tty,
        stdin=terminal.interactive,
        detach_keys=parse_detach_keys(terminal.detach_keys),
        forward_signals=sig_proxy,
    )
    values = secret_values(options.network.secret, stdin_is_taken=terminal.interactive)
    pull = parse_pull_policy(options.image.pull)
    return run_async(_run(settings, options.identity, spec, values, pull, how, result.open()))


async def _run(
    settings: Settings,
    identity: IdentityOptions,
    spec: BoxSpec,
    values: Mapping[str, str],
    pull: PullPolicy,
    how: Holding,
    results: Results,
) -> int:
    with progress_display(quiet=identity.no_progress) as display:
        async with settings.open_runtime(display.show) as runtime:
            with new_id_file(identity.cidfile) as write_id:
                runtime.prepare_start(early.take())
                record = await runtime.create(spec, name=identity.name, pull=pull, secret_values=values)
                write_id(record.id)
            if spec.detach:
                return await _start_detached(runtime, record, results)
            return await _hold(runtime, record, how, display)


async def _plan(
    settings: Settings, identity: IdentityOptions, spec: BoxSpec, pull: PullPolicy, result: ResultOptions
) -> int:
    from boxlite_cli.plans import plan_object

    async with settings.open_runtime() as runtime:
        found = await runtime.foresee(spec, pull=pull)
    shown = plan_object(spec, identity.name, found)
    (result if result.format_ else ResultOptions(format_="yaml")).open().print_one([], shown)
    return 0


async def _start_detached(runtime: Runtime, record: BoxRecord, results: Results) -> int:
    try:
        record = await runtime.start(record.id)
    except BaseException:
        await _remove_unstarted(runtime, record)
        raise
    results.print_one([record.id], box_result(record))
    return 0


async def _hold(runtime: Runtime, record: BoxRecord, how: Holding, display: Display) -> int:
    attached = False
    try:
        size = terminal_size() if how.tty else None
        async with runtime.start_attached(record.id, stdin=how.stdin, size=size) as execution:
            attached = True
            display.close()
            status = await hold(execution, how)
            if status is None:
                await execution.release()
                return 0
    except BaseException:
        if not attached:
            await _remove_unstarted(runtime, record)
        elif record.spec.auto_remove:
            await runtime.wait_removed(record)
        raise
    if record.spec.auto_remove:
        await runtime.wait_removed(record)
    return exit_code(status)


async def _remove_unstarted(runtime: Runtime, record: BoxRecord) -> None:
    """Leave nothing behind of a `--rm` box that never came to run, whose end nobody else will notice."""
    if record.spec.auto_remove:
        try:
            await runtime.remove(record.id, force=True)
        except NotFoundError:
            return
        except BoxliteError as error:
            say(f"Warning: box {record.name} is left behind: {error}")


COMMAND = as_command(run, "run", words_end_options=True, failure_status=125, examples=EXAMPLES)
