"""Files that travel through a registry as one OCI artifact: each a blob of its own, named by its title.

The form is that of the oras command line (layers with `org.opencontainers.image.title`), so that either can read what the
other wrote. Blobs are verified like those of images.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from engine.errors import ImageError
from engine.images.credentials import Credential, find_credential
from engine.images.endpoints import Endpoint, endpoints_for
from engine.images.manifest import Descriptor
from engine.images.reference import ImageReference
from engine.layout import Layout
from engine.model import RuntimeConfig

TITLE = "org.opencontainers.image.title"
"""OCI image-spec, annotations.md."""
MAX_FILES = 16


async def push_artifact(
    layout: Layout, config: RuntimeConfig, reference: str, files: Sequence[Path], *, media_type: str
) -> str:
    """Push `files` under `reference`; the manifest's digest. Raises RegistryAuthError, NetworkError, ImageError."""
    name = ImageReference.parse(reference)
    endpoint = endpoints_for(name, config.image_registries)[-1]
    found = await find_credential(name, endpoint.config, layout)
    return await asyncio.to_thread(_push, name, endpoint, found.credential, files, media_type)


def _push(
    name: ImageReference,
    endpoint: Endpoint,
    credential: Credential | None,
    files: Sequence[Path],
    media_type: str,
) -> str:
    from engine.images.registry import RegistryClient

    client = RegistryClient(name, endpoint, credential)
    try:
        return client.push_files(files, media_type)
    finally:
        client.close()


async def pull_artifact(
    layout: Layout, config: RuntimeConfig, reference: str, target: Path, *, media_type: str
) -> list[Path]:
    """Fetch the files of an artifact into the directory `target`; their paths. Raises as a pull does, and ImageError for
    something that is no such artifact."""
    name = ImageReference.parse(reference)
    endpoint = endpoints_for(name, config.image_registries)[-1]
    found = await find_credential(name, endpoint.config, layout)
    return await asyncio.to_thread(_pull, name, endpoint, found.credential, target, media_type)


def _pull(
    name: ImageReference,
    endpoint: Endpoint,
    credential: Credential | None,
    target: Path,
    media_type: str,
) -> list[Path]:
    from engine.images.registry import RegistryClient

    client = RegistryClient(name, endpoint, credential)
    try:
        data, _ = client.fetch_manifest(name.digest or name.tag or "latest")
        paths = []
        for title, blob in _titled_blobs(data, str(name), media_type):
            client.fetch_blob(blob, target / title, lambda _done: None)
            paths.append(target / title)
        return paths
    finally:
        client.close()


def _titled_blobs(data: bytes, what: str, media_type: str) -> list[tuple[str, Descriptor]]:
    """The artifact's blobs by title; a title is a plain file name, whatever its author wrote."""
    try:
        layers = json.loads(data)["layers"]
        blobs = [
            (
                str(layer["annotations"][TITLE]),
                Descriptor(
                    media_type=str(layer["mediaType"]),
                    digest=str(layer["digest"]),
                    size_bytes=int(layer["size"]),
                ),
            )
            for layer in layers
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{what} is not an artifact of named files") from error
    if len(blobs) > MAX_FILES or any(blob.media_type != media_type for _, blob in blobs):
        raise ImageError(f"{what} is not an artifact of the type {media_type}")
    for title, _ in blobs:
        if Path(title).name != title or title in ("", ".", ".."):
            raise ImageError(f"{what} has a file with the name {title!r}")
    return blobs
