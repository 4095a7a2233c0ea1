"""One box for each task, so many at a time. A task that fails or takes too long does no harm to the others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import boxlite

AT_ONCE = 2
"""Boxes that run at the same time: as many as the host has memory and processors for."""
TASKS = ("echo $((6 * 7))", "hostname >/dev/null && echo fine", "exit 3", "sleep 60")
TIMEOUT_S = 10.0


async def work(image: str, script: str, free: asyncio.Semaphore) -> str:
    """Run one task in a box of its own; what came of it, in a line."""
    async with free, boxlite.SimpleBox(image, memory_mib=256) as box:
        try:
            result = await box.exec("sh", "-c", script, timeout=TIMEOUT_S)
        except TimeoutError:
            return "took too long"
        return result.stdout.strip() if result.success else f"failed with status {result.exit_code}"


async def work_all(image: str, scripts: Sequence[str], at_once: int = AT_ONCE) -> list[str]:
    """The outcomes, in the order of the tasks."""
    free = asyncio.Semaphore(at_once)
    outcomes = await asyncio.gather(
        *(work(image, script, free) for script in scripts), return_exceptions=True
    )
    return [str(outcome) for outcome in outcomes]


async def main(image: str = "alpine:3.20", timeout: str = str(TIMEOUT_S)) -> None:
    global TIMEOUT_S
    TIMEOUT_S = float(timeout)
    for script, outcome in zip(TASKS, await work_all(image, TASKS), strict=True):
        print(f"{script}: {outcome}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
