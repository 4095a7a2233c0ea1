"""The first conversation with a machine that has just woken: who it is, what its container is, run it."""

from __future__ import annotations

from engine.portal.execution import Execution
from engine.portal.failures import translated
from engine.portal.session import GuestSession
from guest.wire import portal_pb2 as wire


async def boot(
    session: GuestSession,
    execution: Execution,
    *,
    machine: wire.InitRequest,
    container: wire.ContainerInitRequest,
    attached: bool,
) -> None:
    """Make the machine this box and run its command.

    With `attached` the readers of `execution`, the main command, are in place before it runs: not a byte of it is
    lost. The calls travel together; the agent lets the readers wait for the command. Raises what the agent refuses
    (an unknown user, a missing command or directory).
    """
    if attached:
        execution.attach(keep=True)
    execution.expect_end()
    with translated("start"):
        await session.boot(wire.BootRequest(machine=machine, container=container))
