"""Boxes on record: looking them up truthfully, creating, renaming and removing them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from engine import host
from engine.errors import BoxliteError, DeadlineError, InvalidStateError, NotFoundError
from engine.fsutil import discard_tree, storage_error, try_lock, write_atomic
from engine.ids import new_box_id
from engine.layout import ROOTFS_PREFIX, BoxLayout
from engine.model import BoxRecord, BoxSpec, BoxState, BoxStatus, ListedBox, utc_now
from engine.process import is_alive
from engine.runtime.context import Context
from engine.runtime.directories import make_directories, new_directory, sweep_strays
from engine.vmm.leftovers import kill_leftovers_of_box

ACTIVE = (BoxStatus.RUNNING, BoxStatus.STOPPING, BoxStatus.PAUSED)
LOST_CODE = 137
LOCK_POLL_S = 0.02
LOCK_TIMEOUT_S = 300.0
SHIM_REMOVES_WITHIN_S = 30.0
"""How long after it is due a box is left to its shim to remove."""

FILES_ONLY = "its files are being copied"
"""The reason of a box whose machine runs for a copy, without its command. It ends with the copy."""


def runs_its_command(record: BoxRecord) -> bool:
    """Does it run, and not only for a copy?"""
    return record.status.is_active and record.state.reason != FILES_ONLY


def has_process(record: BoxRecord | ListedBox) -> bool:
    """Does the shim on record still run, in this boot of the host?"""
    state = record.state
    return state.boot_id == host.boot_id() and is_alive(state.pid, state.pid_start)


async def settle(context: Context, record: BoxRecord) -> BoxRecord:
    """The record as it is in truth: an active box whose shim is gone (killed, host rebooted) becomes stopped."""
    if not record.status.is_active or has_process(record):
        return record
    await asyncio.to_thread(kill_leftovers_of_box, context.layout.box(record.id))
    try:
        return await context.store.transition(
            record.id,
            BoxStatus.STOPPED,
            reason="its shim was killed"
            if record.state.boot_id == host.boot_id()
            else "the host was restarted",
            expect=ACTIVE,
            seen=record,
            exit_code=LOST_CODE,
            finished_at=utc_now(),
            pid=None,
            pid_start=None,
            ports=(),
        )
    except InvalidStateError:
        return await context.store.get(record.id)


async def get_box(context: Context, ref: str) -> BoxRecord:
    """Raises NotFoundError, InvalidArgumentError (ambiguous)."""
    return await settle(context, await context.store.resolve(ref))


async def list_boxes(context: Context, *, include_inactive: bool) -> list[BoxRecord]:
    """Newest first. Never waits for a box that somebody is busy with."""
    records = await context.store.list(None if include_inactive else ACTIVE)
    if include_inactive:
        await sweep_strays(context, {record.id for record in records})
    settled = [found for record in records if (found := await _settled_or_gone(context, record))]
    now = utc_now()
    return [
        record
        for record in settled
        if record.status.is_active
        or (include_inactive and not (is_due(record, now) and await _is_cleared_away(context, record)))
    ]


async def list_briefly(context: Context, *, include_inactive: bool) -> Sequence[BoxRecord | ListedBox]:
    """As `list_boxes`, with as much of each box as a list shows; whole records where one has to be set right first."""
    boxes = await context.store.list_briefly(None if include_inactive else ACTIVE)
    now = utc_now()
    if any((box.status.is_active and not has_process(box)) or is_due(box, now) for box in boxes):
        return await list_boxes(context, include_inactive=include_inactive)
    if include_inactive:
        await sweep_strays(context, {box.id for box in boxes})
    return boxes


async def _settled_or_gone(context: Context, record: BoxRecord) -> BoxRecord | None:
    try:
        return await settle(context, record)
    except NotFoundError:  # removed since it was read
        return None


def is_due(record: BoxRecord | ListedBox, now: datetime) -> bool:
    """Should a box that does not run have been removed already? Its shim does that, unless it was killed."""
    finished, after_s = record.state.finished_at, record.spec.auto_delete_s
    if finished is None or record.status not in (BoxStatus.STOPPED, BoxStatus.FAILED):
        return False
    if record.spec.auto_remove:
        return now > finished + timedelta(seconds=SHIM_REMOVES_WITHIN_S)
    return bool(after_s) and now > finished + timedelta(seconds=after_s + SHIM_REMOVES_WITHIN_S)


async def _is_cleared_away(context: Context, record: BoxRecord) -> bool:
    """Remove it, unless somebody is busy with it or was faster."""
    try:
        await remove_box(context, record, patience_s=0.0)
    except (DeadlineError, InvalidStateError):
        return False
    except NotFoundError:
        return True
    return True


async def insert_box(
    context: Context, spec: BoxSpec, name: str | None, source_key: str, config_digest: str | None
) -> BoxRecord:
    """Put a new box on record and make its directory. Nothing is left behind when that fails."""
    record = BoxRecord(
        id=new_box_id(),
        name=name or "",
        spec=spec,
        state=BoxState(status=BoxStatus.CONFIGURED, changed_at=utc_now(), reason="created"),
        created_at=utc_now(),
        manifest_digest=source_key,
        config_digest=config_digest,
    )
    box = context.layout.box(record.id)
    async with new_directory(box):
        await asyncio.to_thread(_write_config, box, record)
        if name is None:
            record = await context.store.insert_unnamed(record)
        else:
            await context.store.insert(record)
    await sweep_strays(context)
    return record


def _write_config(box: BoxLayout, record: BoxRecord) -> None:
    import msgspec

    try:
        write_atomic(box.config_path, msgspec.json.format(msgspec.json.encode(record.spec), indent=2) + b"\n")
    except OSError as error:
        raise storage_error(error, "writing") from error


@contextlib.asynccontextmanager
async def box_lock(
    context: Context, record: BoxRecord, operation: str, *, patience_s: float = LOCK_TIMEOUT_S
) -> AsyncIterator[None]:
    """Be the only one who changes this box. Waits for another who does, raising DeadlineError when that takes longer
    than `patience_s`; raises NotFoundError when the box goes away."""
    path = context.layout.box(record.id).lock_path
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            lock = try_lock(path)
        except FileNotFoundError:
            if await context.store.find(record.id) is None:
                raise _gone(record, operation) from None
            make_directories(context.layout.box(record.id))
            continue
        if lock is not None:
            break
        if asyncio.get_running_loop().time() >= deadline:
            raise DeadlineError(
                f"another command has been busy with it for {patience_s:g} s",
                box=record.name,
                operation=operation,
            )
        await asyncio.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        os.close(lock)


def _gone(record: BoxRecord, operation: str) -> NotFoundError:
    """Somebody else removed it: by the name that people gave."""
    return NotFoundError(
        f"no such box: {record.name}", hint="`boxlite ls -a` shows every box", operation=operation
    )


async def remove_box(context: Context, record: BoxRecord, *, patience_s: float = LOCK_TIMEOUT_S) -> None:
    """Forget an inactive box and delete what it had. Raises NotFoundError when somebody else was faster."""
    async with box_lock(context, record, "rm", patience_s=patience_s):
        try:
            await context.store.remove(record.id)
        except NotFoundError:
            raise _gone(record, "rm") from None
        except BoxliteError as error:
            raise error.at(box=record.name, operation="rm") from None
        await asyncio.to_thread(discard_tree, context.layout.box(record.id).root, context.layout.tmp_dir)
    await sweep_strays(context)
    key = record.manifest_digest or ""
    if key.startswith(ROOTFS_PREFIX):
        from engine.disks.release import remove_idle_bases

        await remove_idle_bases(context.layout, context.store, only=(key,))


def log_paths(box: BoxLayout) -> tuple[Path, Path]:
    """The older and the current log of the main command's output; either may be missing."""
    return box.output_log.with_name(box.output_log.name + ".1"), box.output_log
