"""Booting a box again from inside its shim, with the requests the starter left behind."""

from __future__ import annotations

import secrets
import time

from engine.layout import BoxLayout
from engine.portal.boot import boot
from engine.portal.execution import Execution
from engine.portal.session import open_session
from engine.shim.plan import LaunchPlan
from guest.wire import portal_pb2 as wire
from guest.wire.constants import MAIN_EXECUTION


async def boot_again(plan: LaunchPlan, box: BoxLayout) -> None:
    """As a starter does, with a clock and entropy of this moment."""
    machine = wire.InitRequest.FromString(plan.machine_request)
    machine.entropy = secrets.token_bytes(len(machine.entropy))
    machine.realtime_ns = time.time_ns()
    async with open_session(box.sockets_dir) as session:
        execution = Execution(session, MAIN_EXECUTION)
        try:
            await boot(
                session,
                execution,
                machine=machine,
                container=wire.ContainerInitRequest.FromString(plan.container_request),
                attached=False,
            )
        finally:
            await execution.close()
