"""What is done in boxes, as calls of the runtime: commands, files, a look at what runs there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from engine.runtime.lifecycle import LifecycleRuntime

if TYPE_CHECKING:
    from engine.metrics import BoxMetrics, BoxSession
    from engine.model import ExecSpec
    from engine.portal.execution import Execution
    from engine.runtime.copy_rules import CopyOptions


class InsideRuntime(LifecycleRuntime):
    """Commands and files of boxes; one that may be resumed is started for them."""

    @contextlib.asynccontextmanager
    async def attach(self, ref: str, execution_id: str | None = None) -> AsyncIterator[Execution]:
        """The main command of a running box, or the one with the id (or its beginning); what it printed last comes first.
        A stopped resumable box is started."""
        from engine.runtime import running

        record = await self._ready_for(ref, "attach")
        async with running.attached(self._context, record, execution_id) as execution:
            yield execution

    @contextlib.asynccontextmanager
    async def exec(self, ref: str, spec: ExecSpec) -> AsyncIterator[Execution]:
        """Run a further command. A stopped resumable box is started for it; of a job box that is refused. Leaving the
        context while the command runs kills it, unless the spec says detach."""
        from engine.runtime import running

        record = await self._ready_for(ref, "exec")
        async with running.executing(self._context, record, spec) as execution:
            yield execution

    async def exec_detached(self, ref: str, spec: ExecSpec) -> str:
        """Start a further command and leave it; its id."""
        async with self.exec(ref, spec) as execution:
            return execution.id

    async def copy_in(self, ref: str, source: str, box_path: str, options: CopyOptions | None = None) -> None:
        """Copy a file or directory of the host into a box; where it goes is told by `engine.runtime.copy_rules`. This and
        the other copies need no running box: one that does not run is woken for it, without its command."""
        from engine.runtime.copy_rules import CopyOptions
        from engine.runtime.copying import copy_in

        await copy_in(self._context, ref, source, box_path, options or CopyOptions())

    async def copy_out(
        self, ref: str, box_path: str, target: str, options: CopyOptions | None = None
    ) -> None:
        """Copy a file or directory of a box to the host. Raises DeniedError when the box tries to reach anything else."""
        from engine.runtime.copy_rules import CopyOptions
        from engine.runtime.copying import copy_out

        await copy_out(self._context, ref, box_path, target, options or CopyOptions())

    async def copy_between(
        self, from_ref: str, from_path: str, to_ref: str, to_path: str, options: CopyOptions | None = None
    ) -> None:
        """Copy from one box to another, or within one."""
        from engine.runtime.copy_rules import CopyOptions
        from engine.runtime.copying import copy_between

        await copy_between(self._context, from_ref, from_path, to_ref, to_path, options or CopyOptions())

    async def copy_tar_in(
        self, ref: str, tar: BinaryIO, box_path: str, options: CopyOptions | None = None
    ) -> None:
        """Extract a tar archive in a directory of a box, which is made when missing."""
        from engine.runtime.copy_rules import CopyOptions
        from engine.runtime.copying import copy_tar_in

        await copy_tar_in(self._context, ref, tar, box_path, options or CopyOptions())

    async def copy_tar_out(
        self, ref: str, box_path: str, tar: BinaryIO, options: CopyOptions | None = None
    ) -> None:
        """Write a file or directory of a box as a tar archive."""
        from engine.runtime.copy_rules import CopyOptions
        from engine.runtime.copying import copy_tar_out

        await copy_tar_out(self._context, ref, box_path, tar, options or CopyOptions())

    async def metrics(self, ref: str) -> BoxMetrics:
        """What a running box uses now. Raises InvalidStateError when it does not run."""
        from engine.runtime.metrics import box_metrics

        return await box_metrics(self._context, await self.get(ref))

    async def watch_metrics(self, ref: str, *, interval_s: float = 1.0) -> AsyncIterator[BoxMetrics]:
        """The same again and again, until the box does not run any more."""
        from engine.runtime.metrics import watch_metrics

        async for look in watch_metrics(self._context, await self.get(ref), interval_s):
            yield look

    async def sessions(self, ref: str) -> Sequence[BoxSession]:
        """The commands in a running box. Raises InvalidStateError when it does not run."""
        from engine.runtime.sessions import box_sessions

        return await box_sessions(self._context, await self.get(ref))
