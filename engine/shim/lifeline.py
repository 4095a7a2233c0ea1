"""The starter's end: start a shim, give it its plan, hear from it, let go of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import socket
import threading
import weakref
from pathlib import Path

from engine.errors import BoxliteError, EngineError
from engine.process import process_start_ticks
from engine.shim.plan import COLLECTED, MESSAGE_HEADER, RELEASED, LaunchPlan, Verdict
from engine.shim.spawn import spawn_module, spawn_shim

_ours: weakref.WeakSet[Shim] = weakref.WeakSet()


class Shim:
    """A shim of ours, from its start until it is gone or let go of. A process forked from this one does not hold its boxes:
    they end with the one that started them."""

    def __init__(self, pid: int, start_ticks: int, lifeline: socket.socket) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self._lifeline = lifeline
        self._pending = b""
        self._reaped = False
        _ours.add(self)

    async def send(self, message: LaunchPlan | Verdict) -> None:
        """First the plan, later the verdict. A shim that is gone is noticed by whoever waits for its answers."""
        document = pickle.dumps(message)
        await self._send_bytes(MESSAGE_HEADER.pack(len(document)) + document)

    async def _send_bytes(self, message: bytes) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self._lifeline, message)

    async def wait_machine(self) -> None:
        """Until the machine's process exists. Raises EngineError with the shim's reason when it cannot be started."""
        answer = await self._next()
        if answer is None:
            raise EngineError("the box's shim ended before the machine was started")
        if "error" in answer:
            raise _error(answer)

    async def release(self) -> None:
        """Let an attached box go on when this process ends."""
        await self._send_bytes(RELEASED)

    async def wait_ended(self) -> dict[str, object]:
        """Say that nothing more is wanted of the machine, and wait until the shim has recorded the box's end and is
        gone, or is about to start it again; what it said last."""
        await self._send_bytes(COLLECTED)
        last: dict[str, object] = {}
        while (answer := await self._next()) is not None:
            last = answer
            if answer.get("restarting"):
                return last
        await asyncio.to_thread(self._reap)
        return last

    async def _next(self) -> dict[str, object] | None:
        loop = asyncio.get_running_loop()
        while b"\n" not in self._pending:
            try:
                chunk = await loop.sock_recv(self._lifeline, 65536)
            except OSError:
                chunk = b""
            if not chunk:
                return None
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        answer = json.loads(line)
        return answer if isinstance(answer, dict) else {}

    def _reap(self) -> None:
        if not self._reaped:
            self._reaped = True
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)

    def let_go(self) -> None:
        """Close the lifeline: an attached or unconfirmed box ends, a detached one goes on."""
        self._lifeline.close()
        threading.Thread(target=self._reap, name="shim-reaper", daemon=True).start()


def _leave_to_parent() -> None:
    for shim in list(_ours):
        shim._lifeline.close()


os.register_at_fork(after_in_child=_leave_to_parent)


def _error(answer: dict[str, object]) -> BoxliteError:
    hint = answer.get("hint")
    return EngineError(str(answer["error"]), hint=str(hint) if hint else None)


def start_shim(spawned: tuple[int, socket.socket] | None = None, *, usual: tuple[str, ...] = ()) -> Shim:
    """Start a shim that waits for its plan, or take over one that was spawned earlier. It is a session leader with
    nothing of ours but the lifeline. `usual` as for `spawn_shim`."""
    try:
        pid, lifeline = spawned or spawn_shim(*usual)
    except OSError as error:
        raise EngineError(f"the box's shim could not be started: {error.strerror}") from error
    lifeline.setblocking(False)
    return Shim(pid, process_start_ticks(pid) or 0, lifeline)


def start_expiry(home: Path, box_id: str, finished_us: int, after_s: float) -> None:
    """Leave a process behind that removes a stopped box when `--auto-delete` is due (see engine.shim.expiry).

    Raises OSError when it cannot be started.
    """
    spawn_module("engine.shim.expiry", str(home), box_id, str(finished_us), str(after_s))
