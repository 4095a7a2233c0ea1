"""The executions of the box, by id."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from guest.errors import GuestError
from guest.execution import Execution

_ENDED_KEPT = 256
_FORGOTTEN_TOGETHER = 64


@dataclass(slots=True)
class Sessions:
    """The executions of the box by id. Those that ended are kept for a while, for whoever asks how."""

    _executions: dict[str, Execution] = field(default_factory=dict)
    _awaited: dict[str, set[asyncio.Future[Execution]]] = field(default_factory=dict)

    def add(self, execution: Execution) -> None:
        self._executions[execution.id] = execution
        for awaited in self._awaited.pop(execution.id, ()):
            if not awaited.done():
                awaited.set_result(execution)
        self._forget_old()

    def refuse(self, execution_id: str, error: GuestError) -> None:
        """Tell those who wait for an execution that it will never be."""
        for awaited in self._awaited.pop(execution_id, ()):
            if not awaited.done():
                awaited.set_exception(error)

    def find(self, execution_id: str) -> Execution | None:
        return self._executions.get(execution_id)

    def get(self, execution_id: str) -> Execution:
        try:
            return self._executions[execution_id]
        except KeyError:
            raise GuestError("not_found", f"there is no execution {execution_id} in the box") from None

    async def wait_for(self, execution_id: str, *, timeout_s: float | None) -> Execution:
        """The execution, also one whose call is still on its way. Raises GuestError. Each waits by itself: one who gives up
        takes nothing from the others."""
        found = self.find(execution_id)
        if found is not None:
            return found
        awaited: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()
        waiting = self._awaited.setdefault(execution_id, set())
        waiting.add(awaited)
        try:
            return await asyncio.wait_for(awaited, timeout_s)
        except TimeoutError:
            raise GuestError("not_found", f"there is no execution {execution_id} in the box") from None
        finally:
            waiting.discard(awaited)
            if not waiting and self._awaited.get(execution_id) is waiting:
                del self._awaited[execution_id]

    def all(self) -> list[Execution]:
        return list(self._executions.values())

    def _forget_old(self) -> None:
        if len(self._executions) < _ENDED_KEPT + _FORGOTTEN_TOGETHER:
            return
        ended = [one for one in self._executions.values() if not one.running and not one.attached]
        for execution in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self._executions[execution.id]
