"""Writing down what becomes of a box, and removing it where that was asked for."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidStateError, NotFoundError
from engine.events import EventKind
from engine.fsutil import discard_tree, remove_tree
from engine.layout import ROOTFS_PREFIX, Layout
from engine.model import BoxState, BoxStatus, HealthState, utc_now
from engine.store import BoxStore
from engine.store.documents import to_microseconds

if TYPE_CHECKING:
    from engine.shim.plan import LaunchPlan
    from engine.shim.run import Ending

KILLED_CODE = 137
DENIAL_FIELDS = ("protocol", "name", "address", "port", "rule", "remedy")


async def open_record(layout: Layout, box_id: str) -> BoxStore:
    """The database, opened ahead of the moment when somebody waits for it, with all that reading the box's row loads."""
    store = BoxStore(layout)
    await store.open()
    with contextlib.suppress(NotFoundError):
        await store.get(box_id)
    return store


async def record_ending(
    layout: Layout, plan: LaunchPlan, ending: Ending, *, store: BoxStore | None = None
) -> datetime | None:
    """The box is stopped or failed, or gone. The time it ended at, None when it is gone or never ran its command."""
    if plan.returns_to is not None:
        await _record_return(layout, plan.box_id, plan.returns_to)
        return None
    finished_at = utc_now()
    async with store or BoxStore(layout) as store:
        try:
            await store.transition(
                plan.box_id,
                BoxStatus.FAILED if ending.failed else BoxStatus.STOPPED,
                reason=ending.reason,
                exit_code=KILLED_CODE if ending.exit_code is None else ending.exit_code,
                oom_killed=ending.oom_killed,
                finished_at=finished_at,
                pid=None,
                pid_start=None,
                ports=(),
                health=HealthState.NONE,
            )
            if plan.auto_remove:
                await store.remove(plan.box_id, reason="--rm")
        except NotFoundError:
            return None  # removed by force meanwhile
    if plan.auto_remove:
        discard_tree(layout.box(plan.box_id).root, layout.tmp_dir)
        remove_tree(layout.anonymous_volumes(plan.box_id))
        if plan.vm.base_path is not None:
            await _release_base(layout, Path(plan.vm.base_path).parent.name)
        return None
    return finished_at


async def _record_return(layout: Layout, box_id: str, state: BoxState) -> None:
    """A box whose machine ran for its files only is what it was before."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    status, reason = fields.pop("status"), fields.pop("reason")
    del fields["changed_at"]
    async with BoxStore(layout) as store:
        with contextlib.suppress(NotFoundError):  # removed by force meanwhile
            await store.transition(box_id, status, reason=reason, **fields)


async def _release_base(layout: Layout, key: str) -> None:
    """A base that was made for one box goes with it."""
    if key.startswith(ROOTFS_PREFIX):
        from engine.disks.release import remove_idle_bases

        async with BoxStore(layout) as store:
            await remove_idle_bases(layout, store, only=(key,))


async def note_restart(
    layout: Layout, plan: LaunchPlan, ending: Ending, restarts: int, delay_s: float
) -> None:
    """The box goes on after a run that ended: it stays running, with the reason."""
    code = KILLED_CODE if ending.exit_code is None else ending.exit_code
    async with BoxStore(layout) as store:
        await store.update_state(
            plan.box_id,
            restart_count=restarts,
            exit_code=code,
            oom_killed=ending.oom_killed,
            reason=f"{ending.reason} ({code}); restarting in {delay_s:g} s",
        )


async def note_run(layout: Layout, plan: LaunchPlan) -> None:
    """The main command runs again."""
    async with BoxStore(layout) as store:
        await store.update_state(plan.box_id, started_at=utc_now(), reason="restarted")


async def note_pause(layout: Layout, plan: LaunchPlan, *, paused: bool, reason: str = "") -> None:
    """Raises InvalidStateError when the box is not one that can be paused, or resumed, now."""
    old, new = BoxStatus.RUNNING, BoxStatus.PAUSED
    if not paused:
        old, new = new, old
    async with BoxStore(layout) as store:
        await store.transition(
            plan.box_id, new, reason=reason or ("pause" if paused else "unpause"), expect=(old,)
        )


async def note_denials(layout: Layout, plan: LaunchPlan, entries: Sequence[Mapping[str, str]]) -> None:
    """One event for each thing the gateway refused."""
    async with BoxStore(layout) as store:
        record = await store.get(plan.box_id)
        for entry in entries:
            fields = {name: value for name, value in entry.items() if name in DENIAL_FIELDS}
            await store.record_event(
                record, EventKind.NETWORK_DENIED, reason=entry.get("reason", ""), **fields
            )


async def remove_expired(layout: Layout, box_id: str, finished_us: int) -> None:
    """Remove a box that has been stopped since `finished_us` (microseconds since 1970), unless somebody started or
    removed it meanwhile."""
    async with BoxStore(layout) as store:
        try:
            record = await store.get(box_id)
            finished_at = record.state.finished_at
            if finished_at is None or to_microseconds(finished_at) != finished_us:
                return
            await store.remove(box_id, reason="--auto-delete")
        except (NotFoundError, InvalidStateError):
            return
    discard_tree(layout.box(box_id).root, layout.tmp_dir)
    await _release_base(layout, record.manifest_digest or "")
