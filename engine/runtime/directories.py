"""The directories of boxes, kept in step with the record however processes end.

A directory is made and its lock held before its box is on record, and goes after that. What a killed process leaves in
between is a *stray*: a directory without a box whose lock is free. Whoever creates, removes or lists boxes clears strays
away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from engine.errors import BoxliteError, NotFoundError
from engine.fsutil import remove_tree, storage_error, try_lock
from engine.layout import BoxLayout
from engine.model import BOX_ID_PATTERN
from engine.runtime.context import Context
from engine.shim.usual import DIRECTORY_PREFIX
from engine.vmm.leftovers import kill_leftovers

GONE_PREFIX = ".gone-"
_TRIES_S = 0.01


def make_directories(box: BoxLayout) -> None:
    try:
        for directory in (box.root, box.sockets_dir, box.logs_dir, box.mounts_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, "creating") from error


@contextlib.asynccontextmanager
async def new_directory(box: BoxLayout) -> AsyncIterator[None]:
    """Make the directory of a box that is not on record yet, and hold its lock until it is. If the body raises, nothing
    is left of it."""
    while True:
        try:
            make_directories(box)
        except BoxliteError:
            remove_tree(box.root)
            raise
        with contextlib.suppress(FileNotFoundError):  # swept away before it was locked
            lock = try_lock(box.lock_path)
            if lock is not None:
                break
        await asyncio.sleep(_TRIES_S)
    try:
        yield
    except BaseException:
        remove_tree(box.root)
        raise
    finally:
        os.close(lock)


async def sweep_strays(context: Context, known: Collection[str] | None = None) -> None:
    """Delete directories of boxes that are not on record (`known`: the ids that are) and that nobody is making. What
    cannot be deleted is left for the next time."""
    await _sweep_head_starts(context)
    try:
        names = set(os.listdir(context.layout.boxes_dir))
    except OSError:
        return
    strays = names.difference(await context.store.ids() if known is None else known) if names else ()
    for name in strays:
        path = context.layout.boxes_dir / name
        with contextlib.suppress(OSError, BoxliteError):
            if name.startswith(GONE_PREFIX):
                await asyncio.to_thread(remove_tree, path)
            elif BOX_ID_PATTERN.fullmatch(name):
                await _clear_away(context, name, path)


async def _sweep_head_starts(context: Context) -> None:
    """End and remove machines that nobody had claimed when their shim was killed (engine.shim.usual)."""
    tmp_dir = context.layout.tmp_dir
    with contextlib.suppress(OSError):
        for name in os.listdir(tmp_dir):
            if not name.startswith(DIRECTORY_PREFIX) or (lock := try_lock(tmp_dir / name / "lock")) is None:
                continue
            try:
                await asyncio.to_thread(kill_leftovers, tmp_dir / name)
                await asyncio.to_thread(remove_tree, tmp_dir / name)
            finally:
                os.close(lock)


async def _clear_away(context: Context, box_id: str, path: Path) -> None:
    lock = try_lock(context.layout.box(box_id).lock_path)
    if lock is None:
        return
    try:
        await context.store.get(box_id)
    except NotFoundError:
        # Under another name first: whoever waits for the lock finds no directory rather than half of one.
        gone = path.rename(path.with_name(GONE_PREFIX + box_id))
        await asyncio.to_thread(remove_tree, gone)
    finally:
        os.close(lock)
