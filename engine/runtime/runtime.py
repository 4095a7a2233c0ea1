"""The engine's face: everything the command line and the library can do with boxes, images and the system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.model import PullPolicy
from engine.names import check_name
from engine.runtime.inside import InsideRuntime
from engine.runtime.upkeep import UpkeepRuntime

if TYPE_CHECKING:
    from engine.events import BoxEvent
    from engine.model import BoxRecord, BoxSpec, ListedBox, LogRecord
    from engine.runtime.examination import Examination
    from engine.runtime.foresight import Foresight
    from engine.runtime.image_library import ImageLibrary
    from engine.runtime.network import BoxNetworks
    from engine.runtime.volumes import VolumeLibrary


class Runtime(InsideRuntime, UpkeepRuntime):
    """All boxes and images of one home. Making one costs nothing and touches nothing.

    `async with Runtime() as runtime:`. A `ref` is a box's id, its name or an unambiguous beginning of its id. Any
    number of runtimes, in any number of processes, may share a home. Every method raises members of
    `engine.errors.BoxliteError` only; NotFoundError where a ref names nothing.

    Here are the boxes on record and what they told; the rest of its calls come from the modules beside.
    """

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

    async def list_boxes(self, *, all: bool = False) -> list[BoxRecord]:  # noqa: A002  the word people know
        """Newest first; only those that run unless `all`."""
        from engine.runtime import records

        return await records.list_boxes(self._context, include_inactive=all)

    async def list_briefly(self, *, all: bool = False) -> Sequence[BoxRecord | ListedBox]:  # noqa: A002
        """The same, with as much of each as a list shows: for many boxes."""
        from engine.runtime import records

        return await records.list_briefly(self._context, include_inactive=all)

    async def rename(self, ref: str, new_name: str) -> BoxRecord:
        record = await self.get(ref)
        return await self._context.store.rename(record.id, new_name)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> BoxRecord:
        """Delete a box and its disk; with `volumes` its anonymous volumes too. Raises InvalidStateError for one that runs, unless `force`."""
        from engine.runtime.removing import remove_box

        return await remove_box(self._context, await self.get(ref), force=force, volumes=volumes)

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

    @property
    def images(self) -> ImageLibrary:
        """Everything about images that is not about a box."""
        from engine.runtime.image_library import ImageLibrary

        return ImageLibrary(self._context)

    @property
    def volumes(self) -> VolumeLibrary:
        """Storage that outlives boxes."""
        from engine.runtime.volumes import VolumeLibrary

        return VolumeLibrary(self._context)

    @property
    def network(self) -> BoxNetworks:
        """What boxes tried to reach, and tunnels to their ports."""
        from engine.runtime.network import BoxNetworks

        return BoxNetworks(self._context)
