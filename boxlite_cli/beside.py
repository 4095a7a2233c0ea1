"""Reading a command line takes as long as loading what a pull works with; here two processes do it side by side.

The command, which has loaded little yet, becomes two processes. The second reads the command line as ever. Where that ends
in an order, it hands the order to the first, which has loaded the engine meanwhile, and ends. Where it does not (a wrong
command line, a broken configuration file), it has said what there is to say, and the first ends as it did. The engine
works in the process that was started, so that signals and a sudden end of it mean what they always mean.
"""

from __future__ import annotations

import os

from boxlite_cli.early import split_command

TYPE_CHECKING = False  # that of `typing` takes a while to load
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from boxlite_cli.pulling import PullOrder

_readers_end: list[int] = []
"""In the process that reads the command line: where its order goes."""


def await_order(arguments: Sequence[str]) -> PullOrder | int | None:
    """What the other process read, or what it ended with. None: the command line is to be read here, as this is that
    process, or there is none."""
    is_pull = split_command(iter(arguments))[1] == "pull" and not {"--help", "-h"} & set(arguments)
    if not is_pull or _processors() < 2:
        return None
    # What both will use is loaded once, before there are two.
    import shutil  # noqa: F401
    import subprocess  # noqa: F401
    import uuid  # noqa: F401

    import boxlite_cli.failures
    import boxlite_cli.results  # noqa: F401
    from boxlite_cli.pulling import PullOrder

    ours, readers = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(ours)
        os.close(readers)
        return None
    if pid == 0:
        os.close(ours)
        _readers_end.append(readers)
        return None
    os.close(readers)
    with open(ours, "rb") as pipe:
        written = _load_until_told(pipe)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 0 and written:
        return PullOrder.from_bytes(written)
    return status if status >= 0 else None


def _load_until_told(pipe: BinaryIO) -> bytes:
    """Load the engine, or part of it if there is nothing to do; what the other process wrote."""
    import importlib
    import select

    from boxlite_cli.pulling import ENGINE

    written = None
    for module in ENGINE:
        importlib.import_module(module)
        if written is None and select.select([pipe], [], [], 0)[0]:
            written = pipe.read()
            if not written:
                break
    return pipe.read() if written is None else written


def hand_over(order: PullOrder) -> None:
    """Give the order to the process that waits for it, and end; come back where none does."""
    if not _readers_end:
        return
    try:
        with open(_readers_end.pop(), "wb") as pipe:
            pipe.write(order.to_bytes())
    except BrokenPipeError:
        os._exit(1)  # it was ended, and nobody wants to know
    os._exit(0)


def carry_out(order: PullOrder) -> int:
    """Do what was ordered; the exit status. Everything that goes wrong is shown."""
    from boxlite_cli import failures

    try:
        try:
            status = order.carry_out()
        except Exception as error:
            from boxlite_cli.command import show_failure
            from boxlite_cli.global_options import GlobalOptions

            settings = order.settings
            home = str(settings.home) if settings.home else None
            options = GlobalOptions(debug=settings.debug, json=settings.json, home=home)
            status = show_failure(error, options, failure_status=1, command_path="boxlite pull")
    except (BrokenPipeError, KeyboardInterrupt, failures.TerminatedBySignal) as error:
        status = failures.status_of(error)
    return failures.flush_output() or status


def _processors() -> int:
    """How many of them this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
