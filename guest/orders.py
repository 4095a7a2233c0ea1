"""What the shim asks of the agent over the events port (see guest.wire.constants)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from guest.container import Container
from guest.errors import GuestError
from guest.glance import Glances
from guest.warmup import WarmUp


class Orders:
    """Carries orders out. Nobody waits for an answer: what comes of them shows as an event."""

    def __init__(self, container: Container, warm_up: WarmUp, glances: Glances) -> None:
        self._container = container
        self._warm_up = warm_up
        self._glances = glances
        self._tasks: set[asyncio.Task[None]] = set()

    def obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"op": "stop", "signal": int(signum), "grace_ms": int(grace_ms)}:
                self._spawn(self._stop(signum, grace_ms / 1000))
            case {"op": "signal", "signal": int(signum)}:
                self._container.signal(signum)
            case {"op": "warm"}:
                self._spawn(self._warm_up.again())
            case {"op": "rehearse"}:
                if self._container.awaits_first_execution:
                    self._spawn(self._warm_up.rehearse())
            case {
                "op": "glance",
                "number": int(number),
                "directory": str(directory),
                "beginning": str(beginning),
            }:
                self._spawn(self._glances.answer(number, directory, beginning))
            case _:
                print(f"boxlite: not an order: {order}", file=sys.stderr, flush=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self, signum: int, grace_s: float) -> None:
        try:
            await self._container.stop(signum, grace_s)
        except GuestError as error:
            print(f"boxlite: cannot stop the container: {error.message}", file=sys.stderr, flush=True)
