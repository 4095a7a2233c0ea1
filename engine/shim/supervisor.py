"""Runs one box from its plan to its end: its runs, its deadlines, its record."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import pickle
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import host
from engine.errors import BoxliteError, InvalidStateError
from engine.layout import BoxLayout, Layout
from engine.model import Accel
from engine.shim.control import ControlServer
from engine.shim.deadlines import Deadlines
from engine.shim.headstart import HeadStart
from engine.shim.plan import MESSAGE_HEADER, RELEASED, LaunchPlan, Verdict
from engine.shim.restart import backoff_s, should_restart
from engine.shim.run import Ending, Run

COLLECT_TIMEOUT_S = 5.0
FULL_DISK_REASON = "the host's disk is full; it goes on by itself when there is space"
ENOUGH_SPACE_BYTES = 8 * 1024 * 1024
"""From how much free space on a box that waits for it goes on; one that needs more waits again."""
SPACE_INTERVAL_S = 0.5
REHEARSAL_SOON_S = 0.15
REHEARSAL_DELAY_S = 1.0
"""After the start of a box that is there for what is run in it, whose starter may have a command already; and of one whose
main command has something to do itself."""


if TYPE_CHECKING:
    from engine.store import BoxStore


class Supervisor:
    """Owns one box. `live` returns when nothing of it runs and its end is on record."""

    def __init__(
        self, plan: LaunchPlan, lifeline: socket.socket, head_start: HeadStart | None = None
    ) -> None:
        self.plan = plan
        self._head_start = head_start
        self.layout = Layout(Path(plan.home))
        self.box: BoxLayout = self.layout.box(plan.box_id)
        self._lifeline = lifeline
        self._lifeline.setblocking(False)
        self.run: Run
        self._restarts = 0
        self._paused = False
        self._runs_since = 0.0
        self._verdict: asyncio.Future[Verdict]
        self._deadlines: Deadlines
        self._stop_asked = asyncio.Event()
        self._collected = asyncio.Event()
        self._health: asyncio.Task[None] | None = None
        self._space: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []
        self._denials: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._denial_writer: asyncio.Task[None] | None = None
        self._record_opening: asyncio.Task[BoxStore] | None = None

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        self._verdict = loop.create_future()
        self._deadlines = Deadlines(
            timeout_s=self.plan.timeout_s, auto_stop_s=self.plan.auto_stop_s, stop=self.begin_stop
        )
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self.begin_stop, "its shim was told to end")
        self._background = [asyncio.create_task(ControlServer(self).serve())]
        self._background.append(asyncio.create_task(self._follow_lifeline()))
        ending = await self._first_run()
        while await self._may_restart(ending):
            ending = await self._further_run()
        self._deadlines.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.box.shim_socket.unlink(missing_ok=True)
        await self._record(ending)
        self._say(
            {"exit_code": ending.exit_code, "reason": ending.reason, "asked": self._stop_asked.is_set()}
        )

    def _new_run(self) -> Run:
        return Run(
            self.plan,
            self.box,
            on_activity=self._deadlines.note_activity,
            on_ending=self._open_record,
            on_full_disk=self._begin_waiting_for_space,
            on_denial=self._note_denial,
        )

    async def _first_run(self) -> Ending:
        self.run = self._new_run()
        try:
            await self.run.launch(self._head_start)
            self._say({"machine": self.run.pid})
            if self.plan.attached:
                self._open_record()
            ending = await self.run.over()
            await self._let_starter_collect(ending)
            return ending
        except BoxliteError as error:
            self._say({"error": error.message, "hint": error.hint or ""})
            return Ending(reason=error.message, failed=True)
        finally:
            await self._end_run()

    async def _let_starter_collect(self, ending: Ending) -> None:
        """The machine still holds the last answers to a starter that reads them; give it a moment to take them."""
        if self.plan.collects and ending.exit_code is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._collected.wait(), COLLECT_TIMEOUT_S)

    async def _further_run(self) -> Ending:
        """A run that the restart policy asked for: this process does the starter's part."""
        from engine.shim.reboot import boot_again
        from engine.shim.record import note_run

        self.run = self._new_run()
        try:
            await self.run.launch()
            await boot_again(self.plan, self.box)
            await note_run(self.layout, self.plan)
            self._after_boot()
            return await self.run.over()
        except BoxliteError as error:
            return Ending(reason=error.message, failed=True)
        finally:
            await self._end_run()

    async def _end_run(self) -> None:
        if self._health is not None:
            self._health.cancel()
            await asyncio.gather(self._health, return_exceptions=True)
            self._health = None
        if self._space is not None:
            self._space.cancel()
            await asyncio.gather(self._space, return_exceptions=True)
            self._space = None
        self._paused = False
        await self.run.clean_up()

    async def _may_restart(self, ending: Ending) -> bool:
        booted = self._verdict.done() and self._verdict.result().failure is None
        if not booted or self._stop_asked.is_set():
            return False
        if not should_restart(self.plan.restart, ending, self._restarts):
            return False
        from engine.shim.record import note_restart

        delay = backoff_s(self._restarts, asyncio.get_running_loop().time() - self._runs_since)
        self._restarts += 1
        await note_restart(self.layout, self.plan, ending, self._restarts, delay)
        self._say({"exit_code": ending.exit_code, "restarting": True})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop_asked.wait(), delay)
        return not self._stop_asked.is_set()

    # ------------------------------------------------------------ the starter

    async def _follow_lifeline(self) -> None:
        """Wait for the starter's verdict, then for its end."""
        reader, writer = await asyncio.open_unix_connection(sock=self._lifeline.dup())
        with contextlib.closing(writer):
            try:
                (length,) = MESSAGE_HEADER.unpack(await reader.readexactly(MESSAGE_HEADER.size))
                verdict = pickle.loads(await reader.readexactly(length))  # noqa: S301  from our own parent
            except (asyncio.IncompleteReadError, OSError):
                verdict = Verdict(failure="the command that was starting it ended")
            assert isinstance(verdict, Verdict)
            self._verdict.set_result(verdict)
            if verdict.failure is not None:
                self.run.abort(verdict.failure, verdict.exit_code)
                return
            self._after_boot()
            if self.plan.attached:
                await self._follow_attached(reader)

    async def _follow_attached(self, reader: asyncio.StreamReader) -> None:
        """Until the starter ends, which ends the box, unless it has let go of it or was given the end it waited for."""
        try:
            while word := await reader.read(1):
                if word == RELEASED:
                    return
                self._collected.set()
            if not self._collected.is_set():
                self.begin_stop("the command it was attached to ended")
        except OSError:
            self.begin_stop("the command it was attached to was lost")
        finally:
            self._collected.set()

    def _say(self, answer: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            self._lifeline.send(json.dumps(answer).encode() + b"\n")

    # ------------------------------------------------------------ while it runs

    def _after_boot(self) -> None:
        """The main command runs: the clocks start."""
        self._runs_since = asyncio.get_running_loop().time()
        self._deadlines.begin()
        if self.plan.vm.shape.accel is Accel.TCG:
            delay_s = REHEARSAL_SOON_S if self.plan.awaits_commands else REHEARSAL_DELAY_S
            asyncio.get_running_loop().call_later(delay_s, self.run.tell_agent, {"op": "rehearse"})
        if self.plan.health is not None:
            from engine.shim.health import watch_health

            self._health = asyncio.create_task(
                watch_health(self.layout, self.plan, self.plan.health, lambda: self._paused)
            )

    def change_plan(self, changes: dict[str, Any]) -> None:
        """Take over what `boxlite update` changed on record."""
        self.plan = replace(self.plan, **changes)
        self._deadlines.change(timeout_s=self.plan.timeout_s, auto_stop_s=self.plan.auto_stop_s)

    async def pause(self) -> None:
        """Halt the machine's processors. Raises InvalidStateError when the box does not run (yet)."""
        from engine.shim.record import note_pause

        if not self._verdict.done() or self._stop_asked.is_set() or self._paused:
            raise InvalidStateError("it is starting, stopping or paused")
        await self.run.monitor_command("stop")
        try:
            await note_pause(self.layout, self.plan, paused=True)
        except BaseException:
            await self.run.monitor_command("cont")
            raise
        self._paused = True
        self._deadlines.hold()

    async def resume(self) -> None:
        """Let it run on. Raises InvalidStateError when it is not paused."""
        from engine.shim.record import note_pause

        await note_pause(self.layout, self.plan, paused=False)
        if self._space is not None:
            self._space.cancel()
            self._space = None
        await self._continue()

    async def _continue(self) -> None:
        self._paused = False
        await self.run.monitor_command("cont")
        self._deadlines.resume()

    def _note_denial(self, entry: dict[str, str]) -> None:
        """The gateway refused something: an event, in order and beside everything else."""
        self._denials.put_nowait(entry)
        if self._denial_writer is None or self._denial_writer.done():
            self._denial_writer = asyncio.create_task(self._write_denials())
            self._background.append(self._denial_writer)

    async def _write_denials(self) -> None:
        from engine.shim.record import note_denials

        while not self._denials.empty():
            entries = [self._denials.get_nowait() for _ in range(self._denials.qsize())]
            with contextlib.suppress(BoxliteError):  # the box goes on, and its network log has it
                await note_denials(self.layout, self.plan, entries)

    # ------------------------------------------------------------ a full disk

    def _begin_waiting_for_space(self) -> None:
        if not self._stop_asked.is_set() and (self._space is None or self._space.done()):
            self._space = asyncio.create_task(self._wait_for_space())

    async def _wait_for_space(self) -> None:
        """The machine stands still because the host's disk is full: pause the box until there is space again."""
        from engine.shim.record import note_pause

        self._paused = True
        self._deadlines.hold()
        noted = False
        while True:
            if not noted:
                with contextlib.suppress(BoxliteError, OSError):  # that may find no space either
                    await note_pause(self.layout, self.plan, paused=True, reason=FULL_DISK_REASON)
                    noted = True
            if host.free_bytes(self.box.root) >= ENOUGH_SPACE_BYTES:
                break
            await asyncio.sleep(SPACE_INTERVAL_S)  # nothing tells when space is freed
        if self._paused:
            with contextlib.suppress(InvalidStateError):
                await note_pause(
                    self.layout, self.plan, paused=False, reason="there is space on its disk again"
                )
            await self._continue()

    # ------------------------------------------------------------ the end

    def begin_stop(self, reason: str, *, signum: int | None = None, grace_s: float | None = None) -> None:
        """Stop the box for good: no restart follows. One that is still starting is given up at once."""
        self._stop_asked.set()
        if not self._verdict.done():
            self.run.abort(reason, None)
            return
        self._open_record()
        if self._paused:
            self._background.append(asyncio.create_task(self._continue()))
        self.run.begin_stop(
            reason,
            signum=signum or self.plan.stop_signal,
            grace_s=self.plan.stop_timeout_s if grace_s is None else grace_s,
        )

    def _open_record(self) -> None:
        """Load what it takes to write the end down, while the machine is at work: somebody will wait for it. A box that runs
        for long does without until then."""
        if self._record_opening is None:
            self._record_opening = asyncio.create_task(self._opened_record())

    async def _opened_record(self) -> BoxStore:
        record = await asyncio.to_thread(importlib.import_module, "engine.shim.record")
        return await record.open_record(self.layout, self.plan.box_id)  # type: ignore[no-any-return]

    async def _record(self, ending: Ending) -> None:
        store = None
        if self._record_opening is not None:
            with contextlib.suppress(BoxliteError):  # opened again, that will say what is wrong
                store = await self._record_opening
        from engine.shim.record import record_ending

        finished_at = await record_ending(self.layout, self.plan, ending, store=store)
        if self.plan.auto_delete_s and finished_at is not None:
            from engine.shim.lifeline import start_expiry
            from engine.store.documents import to_microseconds

            start_expiry(
                self.layout.home, self.plan.box_id, to_microseconds(finished_at), self.plan.auto_delete_s
            )
