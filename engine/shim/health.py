"""The health check of a box: a command run in it again and again, its verdict on record."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from engine.errors import BoxliteError
from engine.layout import Layout
from engine.model import HealthCheck, HealthState
from engine.portal.execution import Execution
from engine.portal.failures import translated
from engine.portal.session import open_session
from engine.shim.plan import LaunchPlan
from engine.store import BoxStore
from guest.wire import portal_pb2 as wire


async def watch_health(
    layout: Layout, plan: LaunchPlan, check: HealthCheck, is_paused: Callable[[], bool]
) -> None:
    """Check until cancelled, but not while the box is paused. As Docker: failures count only after the start period, or
    once it was healthy."""
    started = asyncio.get_running_loop().time()
    state, failures = HealthState.STARTING, 0
    async with BoxStore(layout) as store:
        await store.update_state(plan.box_id, health=state, health_failures=0)
        while True:
            await asyncio.sleep(check.interval_s)
            if is_paused():
                continue
            healthy = await _is_healthy(layout, plan, check)
            starting = (
                state is HealthState.STARTING
                and asyncio.get_running_loop().time() - started < check.start_period_s
            )
            if healthy:
                state, failures = HealthState.HEALTHY, 0
            elif not starting:
                failures += 1
                if failures >= check.retries:
                    state = HealthState.UNHEALTHY
            await store.update_state(plan.box_id, health=state, health_failures=failures)


async def _is_healthy(layout: Layout, plan: LaunchPlan, check: HealthCheck) -> bool:
    request = wire.ExecRequest(
        execution_id=secrets.token_hex(16),
        argv=check.command,
        timeout_ms=int(check.timeout_s * 1000),
        detach=True,
        background=True,
    )
    try:
        async with (
            asyncio.timeout(check.timeout_s + 5),
            open_session(layout.box(plan.box_id).sockets_dir) as session,
        ):
            with translated("health check"):
                await session.exec(request)
            execution = Execution(session, request.execution_id)
            try:
                return (await execution.wait()).exit_code == 0
            finally:
                await execution.close()
    except (BoxliteError, TimeoutError):
        return False
