"""The life of boxes as calls of the runtime: starting, stopping, and all between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from engine.errors import InvalidStateError
from engine.progress import Progress
from engine.runtime.home import HomeRuntime

if TYPE_CHECKING:
    from engine.model import BoxRecord, TerminalSize
    from engine.portal.execution import Execution
    from engine.runtime.changes import BoxChanges
    from engine.runtime.link import BoxLink


class LifecycleRuntime(HomeRuntime):
    """Boxes from their start to their end."""

    async def start(self, ref: str) -> BoxRecord:
        """Start a box that goes on without us; returns once its main command runs. One that runs is left alone, and of
        several who start one at the same moment, one does it and the others wait for it: progress then has a warning
        that says so."""
        record, started = await self._start(await self.get(ref))
        if not started:
            message = f"box {record.name} is running already"
            self._context.progress(Progress(stage="warning", item=record.id, message=message))
        return record

    async def _start(self, record: BoxRecord) -> tuple[BoxRecord, bool]:
        """The running box, and whether it was we who started it."""
        from engine.runtime.records import runs_its_command
        from engine.runtime.starting import started_box

        if record.status.is_running and runs_its_command(record):
            return record, False
        try:
            async with started_box(self._context, record, attached=False, shim=self._take_early()) as started:
                return started.record, True
        except InvalidStateError:
            record = await self.get(record.id)
            if record.status.is_running:
                return record, False
            raise

    @contextlib.asynccontextmanager
    async def start_attached(
        self, ref: str, *, stdin: bool = False, size: TerminalSize | None = None
    ) -> AsyncIterator[Execution]:
        """Start a box and follow its main command, whose output is complete from the first byte on. When this process
        ends, the box is stopped. `stdin` must agree with the spec's `stdin_open`."""
        from engine.runtime import running
        from engine.runtime.starting import started_box

        record = await self.get(ref)
        async with started_box(
            self._context, record, attached=True, size=size, shim=self._take_early()
        ) as started:
            async with running.loss_explained(self._context, started.record, "run"):
                yield started.execution
            if started.execution.released:
                await started.shim.release()
            elif started.execution.has_ended:
                await started.shim.wait_ended()

    async def link(self, ref: str) -> BoxLink:
        """A lasting connection to a box, for a program that does many things in it."""
        from engine.runtime.link import BoxLink

        return BoxLink(self._context, await self.get(ref))

    async def wait_removed(self, record: BoxRecord) -> None:
        """After the end of a box: until its shim is gone, and with it, where that was asked for, the box."""
        from engine.runtime import stopping

        current = await self.find(record.id)
        if current is not None:
            await stopping.wait_process(current)

    async def stop(self, ref: str, *, timeout_s: float | None = None) -> BoxRecord:
        """Ask the main command to end (its stop signal), kill it after the grace, wait for the end. A box that does not
        run is left as it is."""
        from engine.runtime import stopping

        record = await self.get(ref)
        return await stopping.stop_box(self._context, record, reason="stop", timeout_s=timeout_s)

    async def restart(self, ref: str, *, timeout_s: float | None = None) -> BoxRecord:
        await self.stop(ref, timeout_s=timeout_s)
        return await self.start(ref)

    async def kill(self, ref: str, signum: int) -> None:
        """Send a signal to the main command. Raises InvalidStateError when the box does not run."""
        from engine.runtime import stopping

        await stopping.signal_box(self._context, await self.get(ref), signum)

    async def pause(self, ref: str) -> BoxRecord:
        """Halt a running box where it stands: its processors stop, its memory stays. Raises InvalidStateError."""
        from engine.runtime import stopping

        return await stopping.pause_box(self._context, await self.get(ref))

    async def unpause(self, ref: str) -> BoxRecord:
        """Let a paused box run on. Raises InvalidStateError when it is not paused."""
        from engine.runtime import stopping

        return await stopping.unpause_box(self._context, await self.get(ref))

    async def update(self, ref: str, changes: BoxChanges) -> BoxRecord:
        """Change what a box was asked to be. Raises InvalidStateError for what a running box cannot have changed."""
        from engine.runtime.changes import update_box

        return await update_box(self._context, await self.get(ref), changes)

    async def wait(self, ref: str) -> int:
        """Until the box does not run; the main command's exit code."""
        from engine.runtime import stopping

        record = await stopping.wait_inactive(self._context, await self.get(ref))
        return record.state.exit_code or 0

    async def _ready_for(self, ref: str, operation: str) -> BoxRecord:
        from engine.runtime.records import runs_its_command

        record = await self.get(ref)
        if runs_its_command(record):
            return record
        if record.spec.is_job or not record.spec.auto_resume:
            raise InvalidStateError(
                f"it is {record.status}, and starting it would run its command again",
                hint=f"start it yourself: boxlite start {record.name}",
                box=record.name,
                operation=operation,
            )
        return (await self._start(record))[0]
