"""Bring images in from a file: an OCI archive or layout directory, or what `docker save` and `podman save` write."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from engine.compression import iter_decompressed
from engine.errors import ImageError, InvalidArgumentError
from engine.fsutil import storage_error
from engine.images.blobs import claim_blob, read_blob, write_blob
from engine.images.layers import StoredLayer, store_layer, store_manifest
from engine.images.manifest import (
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    OCI_CONFIG,
    Descriptor,
    Manifest,
    choose_manifest,
    digest_of,
    parse_config,
    parse_document,
)
from engine.images.partial import open_partial
from engine.images.platforms import Platform
from engine.images.reference import ImageReference
from engine.images.store import UNNAMED, ImageStore
from engine.layout import Layout
from engine.model import Image, RuntimeConfig

_CHUNK_BYTES = 1 << 20
_MAX_NESTED_INDEXES = 4
_LAYERS_AT_THE_CAP = 8
"""An archive may hold as much as so many layers of the largest size."""
_NAME_NOTES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class _Members(Protocol):
    """The files of an archive or a directory, by name."""

    def find(self, name: str) -> IO[bytes] | None: ...


async def load_images(
    layout: Layout,
    source: Path | IO[bytes],
    *,
    platform: str | None = None,
    limits: RuntimeConfig | None = None,
) -> list[Image]:
    """Store every image that `source` holds, plain or compressed with gzip or zstd, and return them.

    Images get the names that are written beside them; those without any are found by id. Of an index, the image for
    `platform` (default: this host's) is taken. Raises ImageError for what is no such archive, or is damaged.
    """
    limits = limits or RuntimeConfig()
    wanted = Platform.parse(platform) if platform else Platform.of_host()
    store = ImageStore(layout)
    async with store.adding():
        try:
            with contextlib.ExitStack() as stack:
                members = await asyncio.to_thread(_open, stack, layout, source, limits)
                what = _name_of(source)
                job = _Load(
                    layout=layout, store=store, members=members, platform=wanted, limits=limits, what=what
                )
                found = await job.run()
                return list({image.reference: image for image in found}.values())
        except OSError as error:
            raise storage_error(error, "loading images") from error


def _name_of(source: Path | IO[bytes]) -> str:
    """The path of what is loaded, where it has one."""
    name = source if isinstance(source, Path) else getattr(source, "name", None)
    return str(name) if isinstance(name, str | Path) and not str(name).startswith("<") else "the archive"


def _open(
    stack: contextlib.ExitStack, layout: Layout, source: Path | IO[bytes], limits: RuntimeConfig
) -> _Members:
    if isinstance(source, Path):
        if source.is_dir():
            return _Directory(source)
        return _open(stack, layout, stack.enter_context(source.open("rb")), limits)
    plain = stack.enter_context(tempfile.TemporaryFile(dir=layout.tmp_dir))  # noqa: SIM115  the stack closes it
    limit_bytes = limits.max_layer_decompressed_bytes * _LAYERS_AT_THE_CAP
    for piece in iter_decompressed(source, limit_bytes=limit_bytes, what="the archive"):
        plain.write(piece)
    plain.seek(0)
    what = _name_of(source)
    with _translated(what):
        return _Archive(stack.enter_context(tarfile.open(fileobj=plain, mode="r:")), what)


@dataclass(frozen=True, slots=True)
class _Directory:
    root: Path

    def find(self, name: str) -> IO[bytes] | None:
        path = self.root / name
        if not path.resolve().is_relative_to(self.root.resolve()) or not path.is_file():
            return None
        return path.open("rb")


@dataclass(slots=True)
class _Archive:
    tar: tarfile.TarFile
    what: str
    by_name: dict[str, tarfile.TarInfo] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with _translated(self.what):
            self.by_name = {member.name.removeprefix("./"): member for member in self.tar.getmembers()}

    def find(self, name: str) -> IO[bytes] | None:
        member = self.by_name.get(name)
        if member is None:
            return None
        with _translated(self.what):
            return self.tar.extractfile(member)


_ENDS_EARLY = frozenset({"empty file", "unexpected end of data", "truncated header"})
"""What tarfile says of an archive that was cut off."""


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, ValueError, KeyError, EOFError, RecursionError) as error:
        if str(error) in _ENDS_EARLY:
            raise ImageError(
                f"{what} ends before it is whole: {error}",
                hint="see what the program that wrote it has said, and let it write it again",
            ) from error
        raise ImageError(
            f"{what} cannot be read as an archive of images: {error}",
            hint="give what `docker save`, `podman save` or skopeo wrote; `boxlite import` takes the tar of a file system",
        ) from error


@dataclass(slots=True, kw_only=True)
class _Load:
    layout: Layout
    store: ImageStore
    members: _Members
    platform: Platform
    limits: RuntimeConfig
    what: str

    async def run(self) -> list[Image]:
        index = self._json("index.json")
        docker = self._json("manifest.json")
        if index is not None:
            return await self._load_oci(index, docker)
        if docker is not None:
            return [image for item in _items(docker, self.what) for image in await self._load_docker(item)]
        raise ImageError(
            f"{self.what} is no image archive: it has neither index.json nor manifest.json",
            hint="`boxlite import` takes an archive of a root file system",
        )

    async def _load_oci(self, index: object, docker: object) -> list[Image]:
        names = _names_by_config(docker)
        document = parse_document(json.dumps(index).encode(), None, self.what)
        if isinstance(document, Manifest):
            raise ImageError(f"{self.what} has a manifest in the place of its index")
        images: list[Image] = []
        for item in document.manifests:
            manifest, digest = await self._bring_in(item)
            await self._add(
                images, digest, [*_noted_names(item), *names.get(manifest.config.digest, [])], item.digest
            )
        return images

    async def _bring_in(self, item: Descriptor) -> tuple[Manifest, str]:
        """Store a manifest and its blobs; of an index, the one for our platform."""
        for _ in range(_MAX_NESTED_INDEXES + 1):
            what = f"manifest {item.digest} of {self.what}"
            if item.size_bytes > MAX_MANIFEST_BYTES:
                raise ImageError(f"{what} is larger than {MAX_MANIFEST_BYTES} bytes")
            await self._copy(item)
            document = parse_document(read_blob(self.layout, item.digest), item.media_type, what)
            if isinstance(document, Manifest):
                for blob in (document.config, *document.layers):
                    await self._copy(blob)
                parse_config(read_blob(self.layout, document.config.digest), document, what)
                return document, item.digest
            item = choose_manifest(document, self.platform, what)
        raise ImageError(f"{self.what} has an index of indexes, more than {_MAX_NESTED_INDEXES} deep")

    async def _copy(self, blob: Descriptor) -> None:
        async with claim_blob(self.layout, blob) as part:
            if part is not None:
                await asyncio.to_thread(self._copy_now, blob, part)

    def _copy_now(self, blob: Descriptor, part: Path) -> None:
        what = f"blob {blob.digest} of {self.what}"
        member = self.members.find("blobs/" + blob.digest.replace(":", "/"))
        if member is None:
            raise ImageError(f"{what} is missing")
        with member, open_partial(blob, part) as partial:
            partial.restart()
            while piece := member.read(_CHUNK_BYTES):
                partial.append(piece, what)
            partial.check(what)

    async def _load_docker(self, item: dict[str, Any]) -> list[Image]:
        config = await asyncio.to_thread(self._read, item.get("Config"), MAX_CONFIG_BYTES)
        layers = [await asyncio.to_thread(self._layer, name) for name in _strings(item.get("Layers"))]
        blobs = tuple(layer.descriptor for layer in layers)
        described = Descriptor(media_type=OCI_CONFIG, digest=digest_of(config), size_bytes=len(config))
        document = parse_config(config, Manifest(media_type="", config=described, layers=blobs), self.what)
        for layer, diff_id in zip(layers, document.diff_ids, strict=True):
            if layer.diff_id != diff_id:
                raise ImageError(
                    f"{self.what} has a layer {layer.diff_id} where its configuration says {diff_id}"
                )
        write_blob(self.layout, described.digest, config)
        digest = await asyncio.to_thread(store_manifest, self.layout, config, blobs)
        images: list[Image] = []
        await self._add(images, digest, _strings(item.get("RepoTags")), digest)
        return images

    def _layer(self, name: str) -> StoredLayer:
        member = self.members.find(name.removeprefix("./"))
        if member is None:
            raise ImageError(f"{self.what} lacks the layer {name}")
        with member:
            limit_bytes = self.limits.max_layer_decompressed_bytes
            return store_layer(
                self.layout, member, limit_bytes=limit_bytes, what=f"layer {name} of {self.what}"
            )

    async def _add(self, images: list[Image], digest: str, names: Sequence[str], source_digest: str) -> None:
        references: list[ImageReference | None] = [*dict.fromkeys(filter(None, map(_reference, names)))]
        for reference in references or [None]:
            repository = reference.name if reference else UNNAMED
            images.append(
                await self.store.add(
                    digest, name=reference, repository=repository, source_digest=source_digest
                )
            )

    def _json(self, name: str) -> object:
        """The document in a file, None when there is no such file."""
        data = self._find(name, MAX_MANIFEST_BYTES)
        if data is None:
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ImageError(f"{name} of {self.what} is not valid JSON") from error

    def _read(self, name: object, limit_bytes: int) -> bytes:
        data = self._find(name, limit_bytes) if isinstance(name, str) else None
        if data is None:
            raise ImageError(f"{self.what} lacks the file {name!r}")
        return data

    def _find(self, name: str, limit_bytes: int) -> bytes | None:
        member = self.members.find(name.removeprefix("./"))
        if member is None:
            return None
        with member:
            data = member.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise ImageError(f"{name} of {self.what} is larger than {limit_bytes} bytes")
        return data


def _noted_names(item: Descriptor) -> list[str]:
    """The names in a descriptor's annotations. A bare tag, as some tools write, names nothing."""
    notes = dict(item.annotations)
    found = (notes.get(key, "") for key in _NAME_NOTES)
    return [name for name in found if "/" in name or ":" in name][:1]


def _names_by_config(docker: object) -> dict[str, list[str]]:
    """What a `manifest.json` beside an OCI index calls each image, by its configuration's digest."""
    names: dict[str, list[str]] = {}
    for item in docker if isinstance(docker, list) else []:
        config = item.get("Config") if isinstance(item, dict) else None
        if isinstance(config, str):
            digest = "sha256:" + config.rpartition("/")[2].removesuffix(".json")
            names.setdefault(digest, []).extend(_strings(item.get("RepoTags")))
    return names


def _items(docker: object, what: str) -> list[dict[str, Any]]:
    if not isinstance(docker, list) or not docker or not all(isinstance(item, dict) for item in docker):
        raise ImageError(f"manifest.json of {what} is not a list of images")
    return docker


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _reference(name: str) -> ImageReference | None:
    try:
        return ImageReference.parse(name)
    except InvalidArgumentError:
        return None
