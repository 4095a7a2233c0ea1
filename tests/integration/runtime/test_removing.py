"""Removing boxes while others change them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import InvalidStateError
from engine.model import BoxSpec, BoxStatus
from engine.runtime import Runtime
from engine.runtime.records import box_lock, insert_box


@pytest.mark.parametrize("force", [True, False])
async def test_remove_of_a_box_that_is_started_meanwhile_is_refused_unless_forced(
    tmp_path: Path, force: bool
) -> None:
    async with Runtime(tmp_path / "home") as runtime:
        context = runtime._context
        record = await insert_box(context, BoxSpec(image="alpine"), "torn", None, None)
        async with box_lock(context, record, "start"):
            removing = asyncio.create_task(runtime.remove("torn", force=force))
            await asyncio.sleep(0.2)  # it has seen a box that does not run, and waits for its turn
            await context.store.transition(record.id, BoxStatus.RUNNING, reason="starting")
        if force:
            await asyncio.wait_for(removing, 20)
            assert await runtime.find("torn") is None
        else:
            with pytest.raises(InvalidStateError, match="it is running"):
                await asyncio.wait_for(removing, 20)
