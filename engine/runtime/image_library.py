"""The images of a home, as people handle them: `Runtime.images`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from engine.compression import Compression
from engine.images.store import ImageStore, Removal
from engine.model import Image, ImageConfig, PullPolicy
from engine.runtime import images
from engine.runtime.context import Context

if TYPE_CHECKING:
    from engine.images.history import HistoryEntry
    from engine.images.save import ArchiveFormat
    from engine.model import Reclaimable


class ImageLibrary:
    """What can be done with images. A `name` is a reference, an id, a digest, or an unambiguous beginning of one.

    Every method raises ImageNotFoundError where a name means nothing here.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = ImageStore(context.layout)

    async def pull(
        self, reference: str, *, platform: str | None = None, policy: PullPolicy = PullPolicy.ALWAYS
    ) -> Image:
        """Have an image in the store: from a registry, or with `docker-daemon:` or `containers-storage:` in front from
        a Docker or Podman on this host."""
        return await images.pull(self._context, reference, platform=platform, policy=policy)

    async def list(self) -> Sequence[Image]:
        """One for each name, and one for each image without any; newest first."""
        return await self._store.list_images()

    async def get(self, name: str) -> Image:
        return await self._store.get(name)

    async def history(self, name: str) -> Sequence[HistoryEntry]:
        """The steps that made it, the last one first."""
        import asyncio

        from engine.images.history import read_history

        image = await self._store.get(name)
        return await asyncio.to_thread(read_history, self._context.layout, image)

    async def import_rootfs(
        self,
        tar: Path | IO[bytes],
        reference: str | None = None,
        *,
        config: ImageConfig | None = None,
        platform: str | None = None,
        message: str = "",
    ) -> Image:
        """Store a root file system tar as an image of one layer, without a name unless one is given. `message` goes into its
        history."""
        from engine.images.archive import import_rootfs

        return await import_rootfs(
            self._context.layout,
            tar,
            reference,
            config,
            platform=platform,
            message=message,
            limits=self._context.config,
        )

    async def load(self, source: Path | IO[bytes], *, platform: str | None = None) -> Sequence[Image]:
        """Store the images of an archive (docker-save or OCI; plain, gzip or zstd) or of an OCI layout directory."""
        from engine.images.load import load_images

        return await load_images(self._context.layout, source, platform=platform, limits=self._context.config)

    async def save(
        self,
        names: Sequence[str],
        target: IO[bytes],
        *,
        archive_format: ArchiveFormat | None = None,
        compression: Compression = Compression.NONE,
    ) -> Sequence[Image]:
        """Write images to a stream that `load`, docker, podman and skopeo read."""
        from engine.images.save import ArchiveFormat, save_images

        return await save_images(
            self._context.layout,
            names,
            target,
            archive_format=archive_format or ArchiveFormat.DOCKER,
            compression=compression,
        )

    async def tag(self, name: str, new_name: str) -> Image:
        """Give an image one more name."""
        return await self._store.tag(name, new_name)

    async def remove(self, name: str, *, force: bool = False) -> Removal:
        """Take a name away, and with its last name the image. Raises InvalidStateError when a box is made from it, unless
        `force`: then it loses the name but stays until the box is gone."""
        return await self._store.remove(name, force=force, used=await self._used())

    async def prune(
        self, *, named_too: bool = False, keep: Collection[str] = (), dry_run: bool = False
    ) -> Sequence[Reclaimable]:
        """Remove the images without a name, with `named_too` all that no box is made from, but for those whose manifest is
        in `keep`. What went, or with `dry_run` what would, and the bytes on disk that each one frees."""
        from engine.runtime.housekeeping import prune_images

        return await prune_images(self._context, named_too=named_too, dry_run=dry_run, keep=keep)

    async def _used(self) -> Mapping[str, Sequence[str]]:
        """The manifests that boxes are made from, with the boxes' names."""
        from engine.runtime.records import list_boxes

        used: defaultdict[str, list[str]] = defaultdict(list)
        for record in await list_boxes(self._context, include_inactive=True):
            if record.manifest_digest:
                used[record.manifest_digest].append(record.name)
        return used

    async def log_in(self, registry: str, username: str, password: str) -> None:
        """Show a registry a name and a password and keep them when it takes them. Raises RegistryAuthError, NetworkError."""
        from engine.images.login import log_in

        await log_in(self._context.layout, self._context.config, registry, username, password)

    async def log_out(self, registry: str) -> bool:
        """Forget what `log_in` kept; False when there was nothing."""
        import asyncio

        from engine.images.credentials import remove_credential
        from engine.images.login import registry_host

        return await asyncio.to_thread(remove_credential, self._context.layout, registry_host(registry))
