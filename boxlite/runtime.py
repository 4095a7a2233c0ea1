"""All boxes and images of one home."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from boxlite.box import Box
from boxlite.conversion import box_spec, runtime_config, secret_values
from boxlite.images import Images
from boxlite.listening import Counts, Listening
from boxlite.options import BoxOptions, Options
from boxlite.values import BoxInfo, RuntimeMetrics, StaleItem, box_info, stale_item
from boxlite.volumes import Volumes
from engine.errors import AlreadyExistsError, BoxliteError, InvalidStateError, NotFoundError

if TYPE_CHECKING:
    from engine.events import BoxEvent
    from engine.model import BoxRecord
    from engine.runtime import Runtime


@dataclass(slots=True)
class _Opened:
    """What a runtime has in one event loop. `keeper` closes it when the loop shuts down and nobody did before."""

    runtime: Runtime
    listening: Listening
    boxes: dict[str, Box] = field(default_factory=dict)
    keeper: AsyncGenerator[None, None] | None = None

    async def close(self) -> None:
        boxes, self.boxes = list(self.boxes.values()), {}
        await asyncio.gather(*(box.close() for box in boxes), return_exceptions=True)
        await self.listening.end()
        await self.runtime.close()


class Boxlite:
    """Making one costs nothing; `Boxlite.default()` is one that a whole program shares.

    Any number of them, in any number of processes, may share a home, and one may be used in several event loops, one
    after the other. `box` in the names of parameters is a box's id, its name or an unambiguous beginning of its id.
    Every method raises members of BoxliteError only.
    """

    _default: ClassVar[Boxlite | None] = None

    def __init__(self, options: Options | None = None) -> None:
        options = options or Options()
        self._config = runtime_config(options)
        self._listener = options.event_listener
        self._counts = Counts()
        self._opened: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened] = (
            weakref.WeakKeyDictionary()
        )
        self._removed_at_stop: set[str] = set()
        self.images = Images(self._runtime)
        self.volumes = Volumes(self._runtime)

    @classmethod
    def default(cls) -> Boxlite:
        """The program's own, made at the first call."""
        if Boxlite._default is None:
            Boxlite._default = cls()
        return Boxlite._default

    @classmethod
    def init_default(cls, options: Options) -> Boxlite:
        """Say what `default` is. Raises InvalidStateError when it was made already."""
        if Boxlite._default is not None:
            raise InvalidStateError("the default runtime exists already", operation="init_default")
        Boxlite._default = cls(options)
        return Boxlite._default

    # ------------------------------------------------------------ boxes

    async def create(self, options: BoxOptions, name: str | None = None) -> Box:
        """Put a box on record, with its image in the store; it starts when something is first executed in it.

        Raises AlreadyExistsError for a taken name, InvalidArgumentError for wrong options, ImageError and its kinds when
        the image cannot be had.
        """
        opened = await self._open()
        try:
            record = await opened.runtime.create(
                box_spec(options), name=name, pull=options.pull, secret_values=secret_values(options)
            )
        except BoxliteError:
            self._counts.failed += 1
            raise
        self._counts.created += 1
        await opened.listening.catch_up()
        box = await self._handle(record)
        box.is_ours = True
        return box

    async def get(self, box: str) -> Box | None:
        """None when there is no such box. Raises InvalidArgumentError when several are meant."""
        record = await (await self._runtime()).find(box)
        return None if record is None else await self._handle(record)

    async def get_or_create(self, options: BoxOptions, name: str) -> tuple[Box, bool]:
        """The box of that name, whatever its options, or a new one; and whether it is new."""
        found = await self.get(name)
        if found is not None:
            return found, False
        try:
            return await self.create(options, name), True
        except AlreadyExistsError:  # somebody else was faster
            found = await self.get(name)
            if found is None:
                raise
            return found, False

    async def exists(self, box: str) -> bool:
        """Is there such a box? Raises InvalidArgumentError when several are meant."""
        return await (await self._runtime()).find(box) is not None

    async def get_info(self, box: str) -> BoxInfo | None:
        """None when there is no such box."""
        record = await (await self._runtime()).find(box)
        return None if record is None else box_info(record)

    async def list_info(self) -> Sequence[BoxInfo]:
        """All boxes, running or not, newest first."""
        return tuple(box_info(record) for record in await (await self._runtime()).list_boxes(all=True))

    async def remove(self, box: str, force: bool = False) -> None:
        """Delete a box and its disk. Raises NotFoundError, but not for a box of ours that `auto_remove` took away at its
        stop; InvalidStateError for one that runs, unless `force`."""
        opened = await self._open()
        try:
            record = await opened.runtime.remove(box, force=force)
        except NotFoundError:
            if box not in self._removed_at_stop:
                raise
            self._removed_at_stop.discard(box)
            return
        handle = opened.boxes.pop(record.id, None)
        if handle is not None:
            await handle.close()
        await opened.listening.catch_up()

    async def events(
        self, *, after_cursor: int | None = None, since: datetime | None = None, follow: bool = True
    ) -> AsyncIterator[BoxEvent]:
        """What happens to boxes, in order: from now on, after the event with a cursor, or since a time."""
        runtime = await self._runtime()
        async for event in runtime.events(after_cursor=after_cursor, since=since, follow=follow):
            yield event

    async def metrics(self) -> RuntimeMetrics:
        """What this Boxlite has done, and how many boxes of the home run."""
        boxes = await (await self._runtime()).list_boxes()
        return RuntimeMetrics(
            boxes_created_total=self._counts.created,
            boxes_failed_total=self._counts.failed,
            boxes_stopped_total=self._counts.stopped,
            num_running_boxes=sum(box.status.is_running for box in boxes),
            total_commands_executed=self._counts.commands,
            total_exec_errors=self._counts.exec_errors,
        )

    async def cleanup_stale(self) -> Sequence[StaleItem]:
        """Put right what killed processes and a restarted host left: boxes that are on record as running and do not, locks,
        sockets and directories of boxes that are gone, half-made files older than ten minutes; what was deleted.

        Nobody has to call it: whoever looks at a box puts that one right."""
        return tuple(stale_item(item) for item in await (await self._runtime()).remove_leftovers())

    # ------------------------------------------------------------ the end

    async def shutdown(self, timeout: float | None = None) -> None:
        """Stop the boxes this program made and let go of everything; detached ones go on. `timeout` in seconds is the
        grace of each. Afterwards it can be used again."""
        opened = self._opened.pop(asyncio.get_running_loop(), None)
        if opened is None:
            return
        try:
            await asyncio.gather(
                *(self._end(opened.runtime, box, timeout) for box in tuple(opened.boxes.values()))
            )
        finally:
            await opened.close()
            if opened.keeper is not None:
                await opened.keeper.aclose()

    async def close(self) -> None:
        """The same as `shutdown`."""
        await self.shutdown()

    @staticmethod
    async def _end(runtime: Runtime, box: Box, timeout: float | None) -> None:
        record = await runtime.find(box.id)
        if record is None or record.spec.detach or not box.is_ours:
            return
        with contextlib.suppress(NotFoundError):
            await box.stop(timeout=timeout)
            if record.spec.auto_remove:  # it may never have run
                await runtime.remove(box.id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    # ------------------------------------------------------------ one event loop's share

    async def _open(self) -> _Opened:
        loop = asyncio.get_running_loop()
        opened = self._opened.get(loop)
        if opened is None:
            from engine.runtime import Runtime

            runtime = Runtime(None, self._config)
            opened = _Opened(runtime, Listening(runtime, self._listener, self._counts))
            self._opened[loop] = opened
            opened.runtime.layout.ensure()
            opened.keeper = _keeper(opened)
            await anext(opened.keeper)
            await opened.listening.begin()
        return opened

    async def _runtime(self) -> Runtime:
        return (await self._open()).runtime

    async def _handle(self, record: BoxRecord) -> Box:
        """One handle for each box, so that all who have it share its connection and its life."""
        opened = await self._open()
        if record.spec.auto_remove:
            self._removed_at_stop.update((record.id, record.name))
        known = opened.boxes.get(record.id)
        if known is None:
            link = await opened.runtime.link(record.id)
            known = Box(
                opened.runtime, link, on_gone=lambda gone: _forget(opened, gone), listening=opened.listening
            )
            known = opened.boxes.setdefault(record.id, known)
        return known


def _forget(opened: _Opened, box_id: str) -> None:
    opened.boxes.pop(box_id, None)


async def _keeper(opened: _Opened) -> AsyncGenerator[None, None]:
    """Held open as long as the event loop lasts: `asyncio.run` closes such generators at its end, and with this one the
    connections and threads that would otherwise keep the program from ending."""
    try:
        yield
    finally:
        await opened.close()
