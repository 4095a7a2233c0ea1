"""The clocks of a running box: how long it may live, how long it may be idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadlines:
    """Calls `stop` with the reason when a deadline is over. Seconds; 0: none.

    Life is counted from the first `begin`, whatever happens to the box then. Idleness is counted from the last sign of
    activity, and not while the box is paused.
    """

    def __init__(self, *, timeout_s: float, auto_stop_s: float, stop: Callable[[str], None]) -> None:
        self._timeout_s = timeout_s
        self._auto_stop_s = auto_stop_s
        self._stop = stop
        self._begun_at: float | None = None
        self._active_at = 0.0
        self._paused = False
        self._life: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The main command runs, for the first time or again."""
        if self._begun_at is None:
            self._begun_at = asyncio.get_running_loop().time()
        self.note_activity()
        self._arm()

    def change(self, *, timeout_s: float, auto_stop_s: float) -> None:
        """Other deadlines from now on. One that is over by the new measure ends the box at once."""
        self._timeout_s, self._auto_stop_s = timeout_s, auto_stop_s
        self._arm()

    def note_activity(self) -> None:
        self._active_at = asyncio.get_running_loop().time()

    def hold(self) -> None:
        """The box is paused."""
        self._paused = True
        self._arm()

    def resume(self) -> None:
        self._paused = False
        self.note_activity()
        self._arm()

    def cancel(self) -> None:
        for timer in (self._life, self._idle):
            if timer is not None:
                timer.cancel()
        self._life = self._idle = None

    def _arm(self) -> None:
        self.cancel()
        if self._begun_at is None:
            return
        loop = asyncio.get_running_loop()
        if self._timeout_s:
            reason = f"its --timeout of {self._timeout_s:g} s was over"
            self._life = loop.call_at(self._begun_at + self._timeout_s, self._stop, reason)
        if self._auto_stop_s and not self._paused:
            self._idle = loop.call_at(self._active_at + self._auto_stop_s, self._look_if_idle)

    def _look_if_idle(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._active_at + self._auto_stop_s
        if due > loop.time():
            self._idle = loop.call_at(due, self._look_if_idle)
        else:
            self._stop(f"idle for {self._auto_stop_s:g} s (--auto-stop)")
