"""The house-keeping of a home as calls of the runtime: what is there, what could go, whether this host can do it all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from engine.runtime.home import HomeRuntime

if TYPE_CHECKING:
    from engine.model import BoxRecord, Check, DiskUsage, Reclaimable, RuntimeInfo
    from engine.runtime.housekeeping import BoxSize


class UpkeepRuntime(HomeRuntime):
    """The home as a whole."""

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
