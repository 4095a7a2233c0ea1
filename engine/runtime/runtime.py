"""The engine's face: everything the command line and the library can do with boxes, images and the system."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from engine import host
from engine.errors import BoxliteError, InvalidArgumentError, InvalidStateError
from engine.layout import Layout
from engine.model import (
    BoxRecord,
    BoxSpec,
    Check,
    ExecSpec,
    LogRecord,
    PullPolicy,
    RuntimeConfig,
    RuntimeInfo,
    TerminalSize,
)
from engine.names import check_name
from engine.progress import Progress, ProgressSink, ignore_progress
from engine.runtime import records
from engine.runtime.context import Context
from engine.store import BoxStore

if TYPE_CHECKING:
    from engine.events import BoxEvent
    from engine.metrics import BoxMetrics, BoxSession
    from engine.model import DiskUsage, Reclaimable
    from engine.portal.execution import Execution
    from engine.runtime.changes import BoxChanges
    from engine.runtime.copy_rules import CopyOptions
    from engine.runtime.examination import Examination
    from engine.runtime.foresight import Foresight
    from engine.runtime.housekeeping import BoxSize
    from engine.runtime.library import ImageLibrary
    from engine.runtime.link import BoxLink
    from engine.runtime.network import BoxNetworks
    from engine.runtime.volumes import VolumeLibrary
    from engine.shim.lifeline import Shim


class Runtime:
    """All boxes and images of one home. Making one costs nothing and touches nothing.

    `async with Runtime() as runtime:`. A `ref` is a box's id, its name or an unambiguous beginning of its id. Any
    number of runtimes, in any number of processes, may share a home. Every method raises members of
    `engine.errors.BoxliteError` only; NotFoundError where a ref names nothing.
    """

    def __init__(
        self,
        home: Path | None = None,
        config: RuntimeConfig | None = None,
        *,
        progress: ProgressSink = ignore_progress,
    ) -> None:
        self.config = config or RuntimeConfig()
        chosen = home or (
            Path(self.config.home_dir) if self.config.home_dir else host.read_settings().home_dir
        )
        if not chosen.is_absolute():
            raise InvalidArgumentError(f"the home directory {str(chosen)!r} is not an absolute path")
        self.layout = Layout(chosen)
        self._context = Context(
            layout=self.layout, config=self.config, store=BoxStore(self.layout), progress=progress
        )
        self._early: Shim | None = None
        self._opening: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self.layout.ensure()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of everything. Boxes that run detached go on."""
        if self._early is not None:
            self._early.let_go()
            self._early = None
        if self._opening is not None:
            await self._opening
        await self._context.store.close()

    # ------------------------------------------------------------ boxes on record

    async def create(
        self,
        spec: BoxSpec,
        *,
        name: str | None = None,
        pull: PullPolicy = PullPolicy.MISSING,
        secret_values: Mapping[str, str] = {},
    ) -> BoxRecord:
        """Put a box on record, with its image in the store; nothing is started. `secret_values`, by name, are remembered by
        this runtime alone, for the starts it makes.

        Raises AlreadyExistsError for a taken name, ImageError and its kind when the image cannot be had.
        """
        from engine.runtime.creating import create_box

        if name is not None:
            check_name(name)  # before an image is fetched for it
        return await create_box(self._context, spec, name, pull, secret_values)

    async def foresee(self, spec: BoxSpec, *, pull: PullPolicy = PullPolicy.MISSING) -> Foresight:
        """What creating and starting a box would do; nothing is started, pulled or put on record."""
        from engine.runtime.foresight import foresee

        return await foresee(self._context, spec, pull)

    async def examine(self, ref: str) -> Examination:
        """Why a box is as it is: how far its last start came, what its logs say last, and what that probably means."""
        from engine.runtime.examination import examine

        return await examine(self._context, await self.get(ref))

    async def get(self, ref: str) -> BoxRecord:
        return await records.get_box(self._context, ref)

    async def find(self, ref: str) -> BoxRecord | None:
        record = await self._context.store.find(ref)
        return None if record is None else await records.settle(self._context, record)

    async def list_boxes(self, *, all: bool = False) -> list[BoxRecord]:  # noqa: A002  the word people know
        """Newest first; only those that run unless `all`."""
        return await records.list_boxes(self._context, include_inactive=all)

    async def rename(self, ref: str, new_name: str) -> BoxRecord:
        record = await self.get(ref)
        return await self._context.store.rename(record.id, new_name)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> BoxRecord:
        """Delete a box and its disk; with `volumes` its anonymous volumes too. Raises InvalidStateError for one that runs, unless `force`."""
        from engine.runtime.removing import remove_box

        return await remove_box(self._context, await self.get(ref), force=force, volumes=volumes)

    # ------------------------------------------------------------ starting and stopping

    def prepare_start(self, spawned: tuple[int, socket.socket] | None = None) -> None:
        """Begin what every start needs, beside whatever comes before it. Saves its time, changes nothing. `spawned` is a
        shim that was spawned still earlier (engine.shim.spawn)."""
        from engine.shim.lifeline import start_shim

        if self._early is None:
            self._early = start_shim(spawned)
            self._opening = asyncio.ensure_future(self._open_store())

    async def _open_store(self) -> None:
        with contextlib.suppress(BoxliteError):  # whoever asks for something next is told
            await self._context.store.open()

    def _take_early(self) -> Shim | None:
        shim, self._early = self._early, None
        return shim

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
        from engine.runtime.starting import started_box

        if record.status.is_running:
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

    # ------------------------------------------------------------ in a running box

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

    async def _ready_for(self, ref: str, operation: str) -> BoxRecord:
        record = await self.get(ref)
        if record.status.is_active:
            return record
        if record.spec.is_job or not record.spec.auto_resume:
            raise InvalidStateError(
                f"it is {record.status}, and starting it would run its command again",
                hint=f"start it yourself: boxlite start {record.name}",
                box=record.name,
                operation=operation,
            )
        return (await self._start(record))[0]

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

    async def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[LogRecord]:
        """The main command's output of every start, as pieces of either stream, oldest first."""
        from engine.runtime.logs import logs

        record = await self.get(ref)
        async for entry in logs(self._context, record, follow=follow, tail=tail, since=since, until=until):
            yield entry

    @property
    def network(self) -> BoxNetworks:
        """What boxes tried to reach, and tunnels to their ports."""
        from engine.runtime.network import BoxNetworks

        return BoxNetworks(self._context)

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

    async def events(
        self,
        *,
        after_cursor: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        follow: bool = False,
    ) -> AsyncIterator[BoxEvent]:
        """What happened to boxes, in order: after the event with that cursor, or since a time. With `follow` also what
        is still to come, up to `until`; from now on where neither cursor nor time is given. Remember the cursor of the
        last one to go on after it later."""
        from engine.runtime.happenings import events

        async for event in events(
            self._context, after_cursor=after_cursor, since=since, until=until, follow=follow
        ):
            yield event

    async def last_cursor(self) -> int:
        """The cursor of the newest event: where one who follows from now on starts."""
        return await self._context.store.last_cursor()

    def console_path(self, record: BoxRecord) -> Path:
        """Where the kernel and the agent of the last start wrote."""
        return self.layout.box(record.id).console_log

    # ------------------------------------------------------------ images

    @property
    def images(self) -> ImageLibrary:
        """Everything about images that is not about a box."""
        from engine.runtime.library import ImageLibrary

        return ImageLibrary(self._context)

    @property
    def volumes(self) -> VolumeLibrary:
        """Storage that outlives boxes."""
        from engine.runtime.volumes import VolumeLibrary

        return VolumeLibrary(self._context)

    # ------------------------------------------------------------ the system

    async def info(self) -> RuntimeInfo:
        from engine.runtime.system import runtime_info

        return await runtime_info(self._context)

    async def disk_usage(self) -> Sequence[DiskUsage]:
        """What each kind of thing takes on disk, and how much of it nothing needs."""
        from engine.runtime.housekeeping import disk_usage

        return await disk_usage(self._context)

    async def box_size(self, ref: str) -> BoxSize:
        """What a box takes on disk."""
        from engine.runtime.housekeeping import box_size

        return await box_size(self._context, await self.get(ref))

    async def prunable_boxes(self) -> Sequence[BoxRecord]:
        """Boxes that have run and do not run now."""
        from engine.runtime.housekeeping import prunable_boxes

        return await prunable_boxes(self._context)

    async def prune_boxes(self, records: Iterable[BoxRecord]) -> tuple[Sequence[BoxRecord], int]:
        """Remove those of the boxes that do not run; which ones went, and the bytes that freed."""
        from engine.runtime.housekeeping import prune_boxes

        return await prune_boxes(self._context, records)

    async def collect_garbage(self, *, dry_run: bool = False) -> Sequence[Reclaimable]:
        """Delete what nothing needs, or only name it; what it was."""
        from engine.runtime.housekeeping import collect_garbage

        return await collect_garbage(self._context, dry_run=dry_run)

    async def remove_leftovers(self) -> Sequence[Reclaimable]:
        """Set right what killed processes left, and delete the remains; what those were."""
        from engine.runtime.housekeeping import remove_leftovers

        return await remove_leftovers(self._context)

    async def doctor(self) -> Sequence[Check]:
        from engine.runtime.doctor import run_checks
        from engine.vmm.guest_image import find_guest_image

        guest = find_guest_image(self.layout)
        return await run_checks(self.layout, guest_digest=None if guest is None else guest.digest)

    async def setup_guest(self, *, from_ref: str | None = None, force: bool = False) -> str:
        """Build the guest image, or pull it as `from_ref`; its digest. One that is there is kept unless `force`."""
        from engine.runtime.guest import setup_guest

        return await setup_guest(self._context, from_ref=from_ref, force=force)

    async def push_guest(self, reference: str) -> str:
        """Publish the guest image as one OCI artifact; its manifest's digest."""
        from engine.runtime.guest import push_guest

        return await push_guest(self._context, reference)
