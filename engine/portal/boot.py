"""The first conversation with a machine that has just woken: who it is, what its container is, run it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

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
    """Make the machine this box and run its command. The calls travel together; the agent puts them in order.

    With `attached` the readers of `execution`, the main command, are in place before it runs: not a byte of it is
    lost. Raises what the agent refuses (an unknown user, a missing command or directory).
    """
    if attached:
        execution.attach(keep=True)
    execution.expect_end()
    with translated("start"):
        await _together(
            session.guest_init(machine),
            session.container_init(container),
            session.container_start(wire.ContainerStartRequest()),
        )


async def _together(*calls: Awaitable[object]) -> None:
    """Wait for calls that are under way at once; the first of them that failed says why."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
