"""The named volumes of a home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxlite.values import VolumeInfo, volume_info
from engine.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from engine.runtime import Runtime


class Volumes:
    """Reached as `Boxlite.volumes`. A box mounts one by name: `VolumeMount(managed_volume="cache", guest_path="/cache")`."""

    def __init__(self, opened: Callable[[], Awaitable[Runtime]]) -> None:
        self._opened = opened

    async def create(self, name: str | None = None, *, labels: Mapping[str, str] | None = None) -> VolumeInfo:
        """Have a volume of that name; one that is there is left as it is. No name: one is made up. Raises
        InvalidArgumentError for a name that cannot be one."""
        return volume_info(await (await self._opened()).volumes.create(name, labels=labels))

    async def list(self) -> Sequence[VolumeInfo]:
        """By name, those that were made for one box alone last."""
        return tuple(volume_info(volume) for volume in await (await self._opened()).volumes.list())

    async def get(self, name: str) -> VolumeInfo | None:
        """None when there is no such volume."""
        try:
            return volume_info(await (await self._opened()).volumes.get(name))
        except NotFoundError:
            return None

    async def remove(self, name: str) -> None:
        """Delete a volume with everything in it. Raises NotFoundError, and InvalidStateError while a box mounts it,
        also one that does not run."""
        await (await self._opened()).volumes.remove(name)
