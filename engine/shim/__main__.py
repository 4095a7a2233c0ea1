"""`python -m engine.shim FD`: one box's shim. Started by engine.shim.lifeline only."""

from __future__ import annotations

import os
import pickle
import socket
import sys

from engine.shim.lifeline import MESSAGE_HEADER
from engine.shim.plan import LaunchPlan


def main() -> int:
    lifeline = socket.socket(fileno=int(sys.argv[1]))
    lifeline.set_inheritable(False)
    from engine.shim.supervisor import Supervisor  # while the starter is still making the plan

    plan = _receive_plan(lifeline)
    if plan is None:
        return 0
    import asyncio

    _detach_output(plan)
    asyncio.run(Supervisor(plan, lifeline).live())
    sys.stderr.flush()
    os._exit(0)  # somebody waits for our end: do not take the interpreter apart first


def _receive_plan(lifeline: socket.socket) -> LaunchPlan | None:
    """The plan, or None when the starter went away without one."""
    header = _receive(lifeline, MESSAGE_HEADER.size)
    document = _receive(lifeline, MESSAGE_HEADER.unpack(header)[0]) if header else b""
    if not document:
        return None
    plan = pickle.loads(document)  # noqa: S301  from our own parent, over a socket pair it made for us
    assert isinstance(plan, LaunchPlan)
    return plan


def _receive(lifeline: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = lifeline.recv(size - len(received))
        if not chunk:
            return b""
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
