"""Making an image's disk while its last layers are still on their way."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from engine.disks.base import base_key, ensure_base
from engine.disks.growing import GrowingFile
from engine.disks.release import using_bases
from engine.images.arrivals import Growth
from engine.images.platforms import Platform
from engine.model import Image, RootfsDisk
from engine.progress import Progress
from engine.runtime.context import Context
from engine.runtime.trimming import trim_bases

UNTOLD_S = 1.0
"""How long a disk may take beyond its last layer before that is worth a word."""


class Assembly:
    """Makes the base of an image that is being pulled, each layer while it comes in: `engine.images.arrivals`.

    An image whose disk cannot be made is not put on record, and the error says why. One for another platform than the
    host's is only fetched.
    """

    def __init__(self, context: Context, *, size_gb: int) -> None:
        self._context = context
        self._size_gb = size_gb
        self._name = ""
        self._growing: defaultdict[str, GrowingFile] = defaultdict(GrowingFile)
        self._making: asyncio.Task[RootfsDisk] | None = None

    def prepare(self) -> None:
        """Load what makes disks while the network is waited for."""
        import engine.disks.build  # noqa: F401
        from engine.compression import inflate_library

        inflate_library()

    def begin(self, image: Image) -> None:
        self._name = image.reference
        its = Platform(os=image.config.os, architecture=image.config.architecture)
        if Platform.of_host().rank(its) is not None:
            self._making = asyncio.create_task(self._make(image))

    def coming(self, digest: str) -> Growth:
        return self._growing[digest].grow

    def arrived(self, digest: str) -> None:
        self._growing[digest].finish()

    async def finish(self) -> None:
        if self._making is None:
            return
        await asyncio.wait((self._making,), timeout=UNTOLD_S)
        if not self._making.done():
            self._context.progress(Progress(stage="base", item=self._name))
        await self._making

    async def abandon(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait((self._making,))
            if not self._making.cancelled():
                self._making.exception()  # looked at: what made the pull fail is told already

    async def _make(self, image: Image) -> RootfsDisk:
        layout = self._context.layout
        is_new = not (layout.bases_dir / base_key(image.manifest_digest, self._size_gb)).exists()
        async with using_bases(layout):
            disk = await ensure_base(
                layout,
                image,
                size_gb=self._size_gb,
                config=self._context.config,
                growing=self._growing,
            )
        if is_new:
            await trim_bases(self._context)
        return disk
