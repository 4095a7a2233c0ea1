"""Telling a program what happens: calls on a listener object, and counters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import BoxliteError
from engine.events import BoxEvent, EventKind

if TYPE_CHECKING:
    from engine.runtime import Runtime

_log = logging.getLogger(__name__)


class EventListener:
    """What `Options.event_listener` may have: this class, or any object with some of these methods.

    They are called in the event loop, so a slow one holds the program up; one that raises is logged (`boxlite.listening`)
    and does no other harm. What happens to boxes is told of every box in the home, whoever does it, within a quarter of
    a second; commands and copies of those that go through this Boxlite.
    """

    def on_box_created(self, box_id: str) -> None:
        """A box is on record."""

    def on_box_started(self, box_id: str) -> None:
        """Its main command runs."""

    def on_box_stopped(self, box_id: str, exit_code: int | None) -> None:
        """It does not run any more. `exit_code` of its main command, 128+N if signalled; None where nobody knows."""

    def on_box_removed(self, box_id: str) -> None:
        """It is gone, with its disk."""

    def on_exec_started(self, box_id: str, command: str, args: list[str]) -> None:
        """A command runs in it."""

    def on_exec_completed(self, box_id: str, command: str, exit_code: int, duration_secs: float) -> None:
        """That command has ended; `exit_code` is minus the signal's number where one ended it."""

    def on_file_copied_in(self, box_id: str, host_src: str, container_dst: str) -> None:
        """`copy_in` is done."""

    def on_file_copied_out(self, box_id: str, container_src: str, host_dst: str) -> None:
        """`copy_out` is done."""


@dataclass(slots=True)
class Counts:
    """What one Boxlite has done so far."""

    created: int = 0
    failed: int = 0
    stopped: int = 0
    commands: int = 0
    exec_errors: int = 0


class Listening:
    """The calls on a listener, in the order in which things happened; without a listener it costs nothing."""

    def __init__(self, runtime: Runtime, listener: object | None, counts: Counts) -> None:
        self.counts = counts
        self._runtime = runtime
        self._listener = listener
        self._cursor = 0
        self._turn = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    @property
    def is_heard(self) -> bool:
        return self._listener is not None

    async def begin(self) -> None:
        """What happens from now on is told."""
        if self._listener is not None:
            self._cursor = await self._runtime.last_cursor()
            self._following = asyncio.create_task(self._follow())

    async def end(self) -> None:
        """Tell what has happened so far, and nothing more."""
        if self._following is None:
            return
        following, self._following = self._following, None
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await self.catch_up()

    async def catch_up(self) -> None:
        """Tell what is in the log of events and was not told yet."""
        if self._listener is None:
            return
        async with self._turn:
            async for event in self._runtime.events(after_cursor=self._cursor):
                self._cursor = event.cursor
                self._tell_event(event)

    async def exec_started(self, box_id: str, command: str, args: Sequence[str]) -> None:
        """Count a command, and tell of it."""
        self.counts.commands += 1
        await self.catch_up()
        self._tell("on_exec_started", box_id, command, list(args))

    def exec_ended(self, box_id: str, command: str, exit_code: int, duration_s: float) -> None:
        self._tell("on_exec_completed", box_id, command, exit_code, duration_s)

    async def copied(self, box_id: str, source: str, target: str, *, into_box: bool) -> None:
        await self.catch_up()
        self._tell("on_file_copied_in" if into_box else "on_file_copied_out", box_id, source, target)

    async def _follow(self) -> None:
        try:
            async for _ in self._runtime.events(after_cursor=self._cursor, follow=True):
                await self.catch_up()
        except BoxliteError:
            _log.exception("what happens to boxes cannot be told any more")

    def _tell_event(self, event: BoxEvent) -> None:
        match event.kind:
            case EventKind.CREATED:
                self._tell("on_box_created", event.box_id)
            case EventKind.STARTED:
                self._tell("on_box_started", event.box_id)
            case EventKind.STOPPED | EventKind.FAILED | EventKind.LOST:
                code = event.attributes.get("exit_code")
                self._tell("on_box_stopped", event.box_id, int(code) if code else None)
            case EventKind.REMOVED:
                self._tell("on_box_removed", event.box_id)
            case _:
                pass

    def _tell(self, name: str, *about: object) -> None:
        call = getattr(self._listener, name, None)
        if call is None:
            return
        try:
            call(*about)
        except Exception:
            _log.exception("%s of the event listener failed", name)
