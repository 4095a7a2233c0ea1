"""The local store: an OCI image layout that other tools can read, and the names of what is in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from engine.errors import ImageNotFoundError, InvalidArgumentError, InvalidStateError
from engine.fsutil import disk_usage_bytes, hold_lock, storage_error, try_lock
from engine.images.blobs import ensure_layout, has_blob, read_blob
from engine.images.index import write_index
from engine.images.manifest import ConfigDocument, Manifest, layers_of, parse_config, parse_document
from engine.images.platforms import Platform
from engine.images.reference import ImageReference, is_digest
from engine.images.usage import freed_by, unneeded_files
from engine.layout import Layout
from engine.model import Image, utc_now
from engine.names import did_you_mean
from engine.store.images_db import ImageRow, ImagesDb, open_images_db
from engine.values import dataclass

UNNAMED = "localhost/loaded"
"""The repository of images that came without a name."""
_ID_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What `remove` did: names taken away, images forgotten, bytes freed on disk."""

    untagged: tuple[str, ...]
    deleted: tuple[str, ...]
    freed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """An image that was forgotten, and what that freed on disk: its blobs, without those that an image still needs or
    that were counted with another one."""

    row: ImageRow
    size_bytes: int


class ImageStore:
    """The images under one home. Holds nothing open between calls; any number of processes may use one home."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    async def find(self, reference: ImageReference, platform: Platform | None = None) -> Image | None:
        """The whole image that `reference` means here, for `platform` if one is given, or None."""
        async with self._db() as db:
            row = await self._find_row(db, reference)
        image = await self._load(row, str(reference)) if row else None
        if image is not None and platform is not None:
            its = Platform(os=image.config.os, architecture=image.config.architecture)
            if (its.os, its.architecture) != (platform.os, platform.architecture):
                return None
        return image

    async def get(self, text: str) -> Image:
        """The image of a reference, an id (the configuration's digest), a manifest's digest, or a prefix of one.

        Raises ImageNotFoundError, or InvalidArgumentError when a prefix fits several.
        """
        row, reference, _ = await self._get_row(text)
        image = await self._load(row, reference)
        if image is None:
            raise ImageNotFoundError(
                f"image {text} is damaged: parts of it are missing", hint=f"`boxlite pull {text}`"
            )
        return image

    async def find_by_id(self, text: str) -> Image | None:
        """The image whose id, or digest, this wholly is; None when there is none."""
        if not is_digest(text) and not is_digest(f"sha256:{text}"):
            return None
        try:
            return await self.get(text)
        except ImageNotFoundError:
            return None

    async def list_images(self) -> list[Image]:
        """One for every name, and one for every image that has none (then named by its digest); newest first."""
        async with self._db() as db:
            rows = await db.rows()
        found = []
        for row in rows:
            for name in row.names or (_digest_name(row),):
                image = await self._load(row, name)
                if image is not None:
                    found.append(image)
        return found

    async def rows(self) -> list[ImageRow]:
        """Every image's record, newest first."""
        async with self._db() as db:
            return await db.rows()

    async def add(
        self,
        manifest_digest: str,
        *,
        name: ImageReference | None,
        repository: str,
        source_digest: str | None = None,
        after: Callable[[], Awaitable[None]] | None = None,
    ) -> Image:
        """Record an image whose blobs are all in the store, and let `name` mean it; nothing of it when `after`, for which
        everything is made ready, raises."""
        manifest, document, size = await asyncio.to_thread(self._read, manifest_digest)
        async with self._db() as db:
            if after is not None:
                await after()
            now = utc_now()
            row = ImageRow(
                manifest_digest=manifest_digest,
                config_digest=manifest.config.digest,
                source_digest=source_digest or manifest_digest,
                repository=repository,
                size_bytes=size,
                pulled_at=now,
                used_at=now,
            )
            await db.put(row, name=str(name) if name else None)
            rows = await self._write_index(db)
        row = next(one for one in rows if one.manifest_digest == manifest_digest)
        return _image(row, str(name) if name else _digest_name(row), manifest, document)

    async def tag(self, source: str, target: str) -> Image:
        """Give an image one more name. The target is a reference without a digest."""
        reference = ImageReference.parse(target)
        if reference.digest is not None:
            raise InvalidArgumentError(f"{target!r} has a digest; a new name cannot have one")
        row, _, _ = await self._get_row(source)
        async with self._db() as db:
            await db.name(str(reference), row.manifest_digest)
            await self._write_index(db)
        return await self.get(str(reference))

    async def remove(
        self, text: str, *, force: bool = False, used: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> Removal:
        """Take the name away, and the image with its last name. By id, an image with several names needs `force`.

        `used` are the manifests that boxes need, with the boxes' names: such an image loses its last name only with
        `force`, and stays. Blobs that nothing else needs go too, unless a pull is under way; a later removal then
        takes them.
        """
        row, reference, by_name = await self._get_row(text)
        if not by_name and len(row.names) > 1 and not force:
            raise InvalidArgumentError(
                f"image {text} has several names: {', '.join(row.names)}",
                hint="remove the names, or use force",
            )
        untagged = (reference,) if by_name else row.names
        is_last = len(untagged) == len(row.names)
        if is_last and row.manifest_digest in used:
            if not force or not untagged:
                boxes = used[row.manifest_digest]
                raise InvalidStateError(
                    f"image {text} is used by {'box' if len(boxes) == 1 else 'boxes'} {', '.join(boxes)}",
                    hint="remove them first, or take the name away with force: the image stays as long as a box needs it",
                )
            is_last = False
        async with self._db() as db:
            for name in untagged:
                await db.unname(name)
            if is_last:
                await db.delete(row.manifest_digest)
            await self._write_index(db)
        freed = await self.sweep() if is_last else 0
        return Removal(
            untagged=untagged, deleted=(row.manifest_digest,) if is_last else (), freed_bytes=freed
        )

    async def prune(
        self, *, named_too: bool = False, used: Collection[str] = frozenset(), dry_run: bool = False
    ) -> list[Pruned]:
        """Forget every image without a name, `named_too`: and those with one; none whose manifest is in `used`. What went,
        or with `dry_run` what would; blobs go at once unless an image is being added."""
        async with self._db() as db:
            rows = await db.rows()
            gone = [row for row in rows if (named_too or not row.names) and row.manifest_digest not in used]
            sizes = await asyncio.to_thread(freed_by, self._layout, rows, gone)
            for row in () if dry_run else gone:
                await db.delete(row.manifest_digest)
            if gone and not dry_run:
                await self._write_index(db)
        if gone and not dry_run:
            await self.sweep()
        return [Pruned(row=row, size_bytes=size) for row, size in zip(gone, sizes, strict=True)]

    @contextlib.asynccontextmanager
    async def adding(self) -> AsyncIterator[None]:
        """While this is held, no blob is swept away, so that those of an image not yet recorded stay."""
        ensure_layout(self._layout)
        async with hold_lock(self._sweep_lock, shared=True):
            yield

    async def sweep(self) -> int:
        """Delete what `unneeded` finds and return the bytes freed."""
        async with self._unneeded() as files:
            return await asyncio.to_thread(_remove, files)

    async def unneeded(self) -> list[Path]:
        """Blobs that no image needs, and what broken pulls left for their next attempt; none while images are being added."""
        async with self._unneeded() as files:
            return files

    @contextlib.asynccontextmanager
    async def _unneeded(self) -> AsyncIterator[list[Path]]:
        """No image is added before the block ends."""
        self._layout.locks_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = try_lock(self._sweep_lock)
        if lock is None:
            yield []
            return
        try:
            async with self._db() as db:
                rows = await db.rows()
            yield await asyncio.to_thread(lambda: list(unneeded_files(self._layout, rows)))
        finally:
            os.close(lock)

    @property
    def _sweep_lock(self) -> Path:
        return self._layout.locks_dir / "images.lock"

    def _db(self) -> contextlib.AbstractAsyncContextManager[ImagesDb]:
        return open_images_db(self._layout.images_db)

    async def _find_row(self, db: ImagesDb, reference: ImageReference) -> ImageRow | None:
        if reference.digest is None:
            return await db.find_by_name(str(reference))
        named = await db.find_by_name(str(reference))
        if named is not None:
            return named
        rows = await db.find_by_digest(reference.digest)
        return next(
            (row for row in rows if reference.digest != row.config_digest and _is_from(row, reference)), None
        )

    async def _get_row(self, text: str) -> tuple[ImageRow, str, bool]:
        """The row and the reference that `text` stands for, and whether `text` is one of its names."""
        async with self._db() as db:
            if is_digest(text):
                rows = await db.find_by_digest(text)
            else:
                reference = _parse_or_none(text)
                row = await self._find_row(db, reference) if reference else None
                if row is not None:
                    return row, str(reference), str(reference) in row.names
                prefix = _ID_PREFIX.fullmatch(text)
                rows = await db.find_by_prefix(prefix[1]) if prefix else []
        if not rows:
            hint = did_you_mean(text, await self.short_names(), f"`boxlite pull {text}` fetches it")
            raise ImageNotFoundError(f"image {text} is not here", hint=hint)
        if len({row.config_digest for row in rows}) > 1:
            raise InvalidArgumentError(f"{text} fits several images", hint="give more digits of the id")
        return rows[0], rows[0].names[0] if rows[0].names else _digest_name(rows[0]), False

    async def short_names(self) -> list[str]:
        """What is here, as people type it."""
        async with self._db() as db:
            rows = await db.rows()
        names = [name for row in rows for name in row.names]
        return [name.removeprefix("docker.io/").removeprefix("library/") for name in names]

    async def _load(self, row: ImageRow, reference: str) -> Image | None:
        """The image of a row, or None when a blob of it is not there."""
        return await asyncio.to_thread(self._load_now, row, reference)

    def _load_now(self, row: ImageRow, reference: str) -> Image | None:
        if not has_blob(self._layout, row.manifest_digest) or not has_blob(self._layout, row.config_digest):
            return None
        manifest, document, _ = self._read(row.manifest_digest)
        if not all(has_blob(self._layout, layer.digest, layer.size_bytes) for layer in manifest.layers):
            return None
        return _image(row, reference, manifest, document)

    def _read(self, manifest_digest: str) -> tuple[Manifest, ConfigDocument, int]:
        what = f"image {manifest_digest}"
        data = read_blob(self._layout, manifest_digest)
        manifest = parse_document(data, None, what)
        if not isinstance(manifest, Manifest):
            raise InvalidArgumentError(f"{what} is an index, not one image")
        document = parse_config(read_blob(self._layout, manifest.config.digest), manifest, what)
        layers = {layer.digest: layer.size_bytes for layer in manifest.layers}
        return manifest, document, len(data) + manifest.config.size_bytes + sum(layers.values())

    async def _write_index(self, db: ImagesDb) -> list[ImageRow]:
        """Write index.json anew from the record, one writer at a time; the images it names."""
        async with hold_lock(self._layout.locks_dir / "index.lock"):
            rows = await db.rows()
            try:
                await asyncio.to_thread(write_index, self._layout, rows)
            except OSError as error:
                raise storage_error(error, "writing the image index") from error
        return rows


def _remove(files: Sequence[Path]) -> int:
    freed = 0
    for path in files:
        freed += disk_usage_bytes(path)
        path.unlink()
    return freed


def _image(row: ImageRow, reference: str, manifest: Manifest, document: ConfigDocument) -> Image:
    return Image(
        reference=reference,
        manifest_digest=row.manifest_digest,
        config_digest=row.config_digest,
        config=document.config,
        layers=layers_of(manifest, document),
        size_bytes=row.size_bytes,
        pulled_at=row.pulled_at,
        names=row.names,
        source_digest=row.source_digest,
    )


def _digest_name(row: ImageRow) -> str:
    return f"{row.repository}@{row.manifest_digest}"


def _is_from(row: ImageRow, reference: ImageReference) -> bool:
    names = [ImageReference.parse(name).name for name in row.names]
    return reference.name in (row.repository, *names)


def _parse_or_none(text: str) -> ImageReference | None:
    try:
        return ImageReference.parse(text)
    except InvalidArgumentError:
        if _ID_PREFIX.fullmatch(text):
            return None
        raise
