"""`python -m engine.shim FD [HOME KIND | USUAL]`: one box's shim. Started by engine.shim.spawn and .forking only. FD is its end
of the lifeline. HOME and KIND say which usual machine it is to start first of all; USUAL is a descriptor that tells of the one this
process has started already (engine.shim.usual)."""

from __future__ import annotations

import gc
import os
import socket
import sys
from typing import TYPE_CHECKING

from engine.lean import do_without_tls
from engine.shim.usual import start_usual_machine, take_over

if TYPE_CHECKING:
    from engine.shim.plan import LaunchPlan
    from engine.shim.usual import UsualMachine


def main() -> int:
    os.umask(0o077)  # sockets and logs are for the person alone
    os.set_inheritable(int(sys.argv[1]), False)  # a machine that has it would keep its end from being seen
    usual = _find_usual(sys.argv[2:])  # before anything else is loaded
    gc.disable()  # until everything is loaded, which stays
    do_without_tls()
    import asyncio

    lifeline = socket.socket(fileno=int(sys.argv[1]))
    lifeline.setblocking(False)
    asyncio.run(_live(lifeline, usual))
    sys.stderr.flush()
    os._exit(0)  # somebody waits for our end: do not take the interpreter apart first


def _find_usual(words: list[str]) -> UsualMachine | None:
    if len(words) == 1:
        return take_over(int(words[0]))
    return start_usual_machine(*words, is_expected=True) if words else None


async def _live(lifeline: socket.socket, usual: UsualMachine | None) -> None:
    from engine.shim.headstart import HeadStart
    from engine.shim.supervisor import Supervisor  # while the machine starts and the starter makes the plan

    head_start = None if usual is None else HeadStart(usual)
    try:
        plan = await _receive_plan(lifeline)
    except EOFError:
        if head_start is not None:
            await head_start.discard()
        return
    _detach_output(plan)
    gc.freeze()
    gc.enable()
    await Supervisor(plan, lifeline, head_start).live()


async def _receive_plan(lifeline: socket.socket) -> LaunchPlan:
    """Raises EOFError when the starter went away without a plan."""
    import pickle

    from engine.shim.plan import MESSAGE_HEADER, LaunchPlan

    (length,) = MESSAGE_HEADER.unpack(await _receive(lifeline, MESSAGE_HEADER.size))
    plan = pickle.loads(await _receive(lifeline, length))  # noqa: S301  from our parent, over a socket pair it made
    assert isinstance(plan, LaunchPlan)
    return plan


async def _receive(lifeline: socket.socket, size: int) -> bytes:
    import asyncio

    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < size:
        try:
            chunk = await loop.sock_recv(lifeline, size - len(received))
        except OSError as error:
            raise EOFError from error
        if not chunk:
            raise EOFError
        received += chunk
    return received


def _detach_output(plan: LaunchPlan) -> None:
    from pathlib import Path

    from engine.layout import Layout

    log = Layout(Path(plan.home)).box(plan.box_id).shim_log
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


if __name__ == "__main__":
    raise SystemExit(main())
