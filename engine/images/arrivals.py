"""Who works on an image while it is still being pulled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from engine.model import Image

Growth = Callable[[Path, int], None]
"""Where an unfinished layer lies, and how many bytes of it are there: less than before when it is begun anew. Nobody has
verified them yet."""


class LayerArrivals(Protocol):
    """Told, on the loop, how a pull gets on. After `begin`, `finish` or `abandon` is called, or both in this order."""

    def prepare(self) -> None:
        """A registry was asked for blobs, and there is time to get ready."""

    def begin(self, image: Image) -> None:
        """The manifest and the configuration are here; `image` is what it will be."""

    def coming(self, digest: str) -> Growth:
        """A layer is going to be fetched, perhaps before `begin`. What is returned is told, in any thread, how it grows."""

    def arrived(self, digest: str) -> None:
        """A layer is in the store; told also of those that were before, and perhaps before `begin`."""

    async def finish(self) -> None:
        """Every layer is here. The image is put on record only if this does not raise."""

    async def abandon(self) -> None:
        """The pull failed, or what `finish` waited for."""


class NobodyWaits:
    """For a pull that only fetches."""

    def prepare(self) -> None:
        pass

    def begin(self, image: Image) -> None:
        pass

    def coming(self, digest: str) -> Growth:
        return lambda path, held_bytes: None

    def arrived(self, digest: str) -> None:
        pass

    async def finish(self) -> None:
        pass

    async def abandon(self) -> None:
        pass
