"""Write images to a file that docker, podman and skopeo load: an OCI layout with docker's manifest.json beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import IO, Any, cast

from engine.compression import Compression
from engine.errors import InvalidArgumentError
from engine.fsutil import storage_error
from engine.images.manifest import OCI_INDEX, OCI_MANIFEST
from engine.images.reference import ImageReference
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import Image

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3


class ArchiveFormat(StrEnum):
    """DOCKER is what `docker save` writes since version 25: an OCI layout that older ones load too, for the `manifest.json`
    in it. OCI is the layout alone."""

    DOCKER = "docker"
    OCI = "oci"


async def save_images(
    layout: Layout,
    names: Sequence[str],
    target: IO[bytes],
    *,
    archive_format: ArchiveFormat = ArchiveFormat.DOCKER,
    compression: Compression = Compression.NONE,
) -> list[Image]:
    """Write the images to `target`, which need not be seekable. Equal images give equal bytes.

    Raises ImageNotFoundError for a name that is not here.
    """
    if not names:
        raise InvalidArgumentError("no image to save was named")
    if compression not in (Compression.NONE, Compression.GZIP, Compression.ZSTD):
        raise InvalidArgumentError(
            f"images cannot be saved with {compression}", hint="use none, gzip or zstd"
        )
    store = ImageStore(layout)
    async with store.adding():
        images = [await store.get(name) for name in names]
        with_docker = archive_format is ArchiveFormat.DOCKER
        await asyncio.to_thread(_write, layout, images, target, compression, with_docker=with_docker)
    return images


def _write(
    layout: Layout,
    images: Sequence[Image],
    target: IO[bytes],
    compression: Compression,
    *,
    with_docker: bool,
) -> None:
    try:
        with (
            _compressed(target, compression) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}\n')
            blobs = {
                digest for image in images
                for digest in (image.manifest_digest, image.config_digest, *(layer.digest for layer in image.layers))
            }  # fmt: skip
            for digest in sorted(blobs):
                path = layout.blob_path(digest)
                with path.open("rb") as file:
                    tar.addfile(_member("blobs/" + digest.replace(":", "/"), path.stat().st_size), file)
            _add(tar, "index.json", _json(_index(layout, images)))
            if with_docker:
                _add(tar, "manifest.json", _json(_docker_manifest(images)))
    except BrokenPipeError:
        raise  # nobody reads the rest: not a failure of the disk
    except OSError as error:
        raise storage_error(error, "saving images") from error


@contextlib.contextmanager
def _compressed(target: IO[bytes], compression: Compression) -> Iterator[IO[bytes]]:
    if compression is Compression.GZIP:
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0) as packed:
            yield cast("IO[bytes]", packed)
    elif compression is Compression.ZSTD:
        import zstandard

        with zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(target, closefd=False) as writer:
            yield cast("IO[bytes]", writer)
    else:
        yield target


def _index(layout: Layout, images: Sequence[Image]) -> dict[str, Any]:
    manifests = []
    for image in images:
        path = layout.blob_path(image.manifest_digest)
        media_type = json.loads(path.read_bytes()).get("mediaType") or OCI_MANIFEST
        reference = ImageReference.parse(image.reference)
        notes = {
            "io.containerd.image.name": str(reference),
            "org.opencontainers.image.ref.name": reference.tag,
        }
        entry = {"mediaType": media_type, "digest": image.manifest_digest, "size": path.stat().st_size}
        manifests.append({**entry, "annotations": notes} if reference.tag else entry)
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}


def _docker_manifest(images: Sequence[Image]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for image in images:
        item = found.setdefault(
            image.manifest_digest,
            {
                "Config": "blobs/" + image.config_digest.replace(":", "/"),
                "RepoTags": [],
                "Layers": ["blobs/" + layer.digest.replace(":", "/") for layer in image.layers],
            },
        )
        reference = ImageReference.parse(image.reference)
        if reference.digest is None:
            item["RepoTags"].append(reference.familiar)
    return list(found.values())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
