"""`boxlite create`: a box for later."""

from __future__ import annotations

from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.idfile import new_id_file
from boxlite_cli.option_groups import BoxOptions, IdentityOptions
from boxlite_cli.options import build_box_spec
from boxlite_cli.parsers import parse_pull_policy
from boxlite_cli.process_options import StreamOptions
from boxlite_cli.progress import progress_display
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, box_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import InvalidArgumentError
from engine.model import BoxSpec, PullPolicy, SecretSource

EXAMPLES = """
  boxlite create --name web -p 8080:80 nginx
  boxlite create -it --name shell alpine:3.20      for `boxlite start -ai shell`
  boxlite create --auto-delete 1h alpine:3.20 sleep 60
"""


def create(
    streams: StreamOptions,
    options: BoxOptions,
    result: ResultOptions,
    settings: Settings,
    words: Annotated[list[str] | None, typer.Argument(metavar="IMAGE [COMMAND]…")] = None,
    remove: Annotated[bool, typer.Option("--rm", help="Remove the box when it stops.")] = False,
) -> int:
    """Create a box without starting it.

    Prints its id; `boxlite start` runs its command. A box created without a command is started by the first exec.
    """
    spec = build_box_spec(options, words or [], terminal=streams, auto_remove=remove, detach=True)
    for secret in spec.secrets:
        if secret.source is SecretSource.GIVEN:
            raise InvalidArgumentError(
                f"secret {secret.name}: a value that is typed or piped in is kept nowhere, so `boxlite start` would not have it",
                hint="say where it can be fetched at each start: env=VARIABLE, file=PATH or command=LINE; or use `boxlite run`",
            )
    pull = parse_pull_policy(options.image.pull)
    return run_async(_create(settings, options.identity, spec, pull, result.open()))


async def _create(
    settings: Settings, identity: IdentityOptions, spec: BoxSpec, pull: PullPolicy, results: Results
) -> int:
    with progress_display(quiet=identity.no_progress) as display:
        async with settings.open_runtime(display.show) as runtime:
            with new_id_file(identity.cidfile) as write_id:
                record = await runtime.create(spec, name=identity.name, pull=pull)
                write_id(record.id)
    results.print_one([record.id], box_result(record))
    return 0


COMMAND = as_command(create, "create", words_end_options=True, failure_status=125, examples=EXAMPLES)
