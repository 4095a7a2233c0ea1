"""The images of a home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxlite.values import ImageInfo, image_info
from engine.errors import ImageNotFoundError
from engine.model import PullPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from engine.runtime import Runtime


class Images:
    """Reached as `Boxlite.images`."""

    def __init__(self, opened: Callable[[], Awaitable[Runtime]]) -> None:
        self._opened = opened

    async def pull(
        self, reference: str, *, platform: str | None = None, policy: PullPolicy = PullPolicy.ALWAYS
    ) -> ImageInfo:
        """Have an image in the store. Raises ImageError and its kinds."""
        runtime = await self._opened()
        return image_info(await runtime.images.pull(reference, platform=platform, policy=policy))

    async def list(self) -> Sequence[ImageInfo]:
        """Newest first."""
        return tuple(image_info(image) for image in await (await self._opened()).images.list())

    async def get(self, name: str) -> ImageInfo | None:
        """By reference, id, digest or an unambiguous beginning of one; None when it is not here."""
        try:
            return image_info(await (await self._opened()).images.get(name))
        except ImageNotFoundError:
            return None

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Take a name away, and with its last name the image. Raises InvalidStateError when a box is made from it."""
        await (await self._opened()).images.remove(name, force=force)
