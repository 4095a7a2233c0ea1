"""Writing down how a box ended, and removing it where that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import NotFoundError
from engine.fsutil import remove_tree
from engine.layout import Layout
from engine.model import BoxStatus, utc_now
from engine.store import BoxStore

if TYPE_CHECKING:
    from engine.shim.plan import LaunchPlan
    from engine.shim.supervisor import Ending

SIGKILL_CODE = 137


async def record_ending(layout: Layout, plan: LaunchPlan, ending: Ending) -> None:
    """The last thing a shim does: the box is stopped or failed, or gone."""
    async with BoxStore(layout) as store:
        try:
            await store.transition(
                plan.box_id,
                BoxStatus.FAILED if ending.failed else BoxStatus.STOPPED,
                reason=ending.reason,
                exit_code=SIGKILL_CODE if ending.exit_code is None else ending.exit_code,
                oom_killed=ending.oom_killed,
                finished_at=utc_now(),
                pid=None,
                pid_start=None,
                ports=(),
            )
            if plan.auto_remove:
                await store.remove(plan.box_id, reason="--rm")
        except NotFoundError:
            pass  # removed by force meanwhile
    if plan.auto_remove:
        remove_tree(layout.box(plan.box_id).root)
