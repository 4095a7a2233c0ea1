"""What every part of the runtime has: a home, how it is configured, its record of boxes, and the start that was begun early."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engine import host
from engine.errors import BoxliteError, InvalidArgumentError
from engine.layout import Layout
from engine.model import RuntimeConfig
from engine.progress import ProgressSink, ignore_progress
from engine.runtime.context import Context

if TYPE_CHECKING:
    from engine.model import BoxRecord
    from engine.shim.lifeline import Shim
    from engine.store import BoxStore


class HomeRuntime:
    """One home. `engine.runtime.Runtime` is the whole."""

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
        self._context = Context(layout=self.layout, config=self.config, boxes=self._boxes, progress=progress)
        self._store: BoxStore | None = None
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
        if self._store is not None:
            await self._store.close()

    def _boxes(self) -> BoxStore:
        if self._store is None:
            from engine.store import BoxStore

            self._store = BoxStore(self.layout)
        return self._store

    async def get(self, ref: str) -> BoxRecord:
        from engine.runtime import records

        return await records.get_box(self._context, ref)

    async def find(self, ref: str) -> BoxRecord | None:
        from engine.runtime import records

        record = await self._context.store.find(ref)
        return None if record is None else await records.settle(self._context, record)

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
