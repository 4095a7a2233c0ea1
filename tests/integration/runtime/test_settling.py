"""Setting the record right of a box whose shim is gone, while others go on with the box."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from engine import host
from engine.model import BoxSpec, BoxStatus
from engine.process import process_start_ticks
from engine.runtime import Runtime
from engine.runtime.records import insert_box, settle


def a_process_that_has_ended() -> tuple[int, int | None]:
    process = subprocess.Popen(["true"])
    start = process_start_ticks(process.pid)
    process.wait()
    return process.pid, start


async def test_box_whose_shim_is_gone_becomes_stopped_but_not_one_that_was_started_anew_since_it_was_read(
    tmp_path: Path,
) -> None:
    gone, gone_start = a_process_that_has_ended()
    async with Runtime(tmp_path / "home") as runtime:
        context = runtime._context
        record = await insert_box(context, BoxSpec(image="alpine"), "anew", None, None)
        stale = await context.store.transition(
            record.id,
            BoxStatus.RUNNING,
            reason="",
            pid=gone,
            pid_start=gone_start,
            boot_id=host.boot_id(),
        )
        assert (await settle(context, stale)).status is BoxStatus.STOPPED
        mine = process_start_ticks(os.getpid())
        running = await context.store.transition(
            record.id, BoxStatus.RUNNING, reason="", pid=os.getpid(), pid_start=mine
        )
        assert await settle(context, stale) == running
