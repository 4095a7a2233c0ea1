"""Manifests, indexes and configurations: read, checked and turned into our values. Pure: bytes in, values out.

OCI image-spec (manifest.md, image-index.md, config.md) and Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from engine.errors import ImageError, UnsupportedError
from engine.images.platforms import Platform
from engine.images.reference import is_digest
from engine.model import ImageConfig, Layer
from engine.values import dataclass

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"

INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
ACCEPTED_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

MAX_MANIFEST_BYTES = 4 << 20
"""What registries promise to hold (distribution-spec, "Pushing Manifests")."""
MAX_CONFIG_BYTES = 8 << 20
MAX_LAYERS = 1024
MAX_BLOB_BYTES = 1 << 40

_CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_LAYER_TYPE_PREFIXES = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a document says of another one; both `digest` and `size_bytes` must hold of what is fetched."""

    media_type: str
    digest: str
    size_bytes: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    media_type: str
    manifests: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDocument:
    """An image's configuration: what runs, and the digests of its layers when decompressed."""

    config: ImageConfig
    variant: str
    diff_ids: tuple[str, ...]

    @property
    def platform(self) -> Platform:
        return Platform(os=self.config.os, architecture=self.config.architecture, variant=self.variant)


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def check_digest(data: bytes, digest: str, what: str) -> None:
    """Raise ImageError unless `data` have this digest."""
    actual = digest_of(data, digest.partition(":")[0])
    if actual != digest:
        raise ImageError(
            f"{what} has the digest {actual}, not {digest}",
            hint="the registry or something on the way changed it; try another registry or tell its operator",
        )


def parse_document(data: bytes, media_type: str | None, what: str) -> Manifest | Index:
    """Read a manifest or an index. `media_type` is what came with it; the document's own wins.

    Raises UnsupportedError for schema 1 and for artifacts that are not images, ImageError for what breaks the rules.
    """
    document = _object(_load(data, what), what)
    stated = document.get("mediaType")
    declared = stated if isinstance(stated, str) and stated else (media_type or "").partition(";")[0].strip()
    if declared.startswith(_SCHEMA_1) or document.get("schemaVersion") == 1:
        raise UnsupportedError(
            f"{what} is an image manifest of schema 1, which was withdrawn",
            hint="push the image again with a current docker, podman or skopeo",
        )
    if document.get("schemaVersion") != 2:
        raise ImageError(
            f"{what} is not a manifest: schemaVersion is {document.get('schemaVersion')!r}, not 2"
        )
    has_layers, has_manifests = "layers" in document, "manifests" in document
    if has_layers and has_manifests:
        raise ImageError(f"{what} claims to be a manifest and an index at once")
    if declared in INDEX_TYPES or (declared not in MANIFEST_TYPES and has_manifests):
        found = _list(document, "manifests", what)
        return Index(
            media_type=declared or OCI_INDEX, manifests=tuple(_descriptor(item, what) for item in found)
        )
    if declared and declared not in MANIFEST_TYPES:
        raise UnsupportedError(f"{what} is of the type {declared}, not an image")
    return _manifest(document, declared or OCI_MANIFEST, what)


def _manifest(document: dict[str, Any], media_type: str, what: str) -> Manifest:
    config = _descriptor(document.get("config"), what)
    if config.media_type not in _CONFIG_TYPES:
        kind = document.get("artifactType") or config.media_type
        raise UnsupportedError(f"{what} is an artifact of the type {kind}, not an image that could run")
    layers = tuple(_descriptor(item, what) for item in _list(document, "layers", what))
    for layer in layers:
        if not layer.media_type.startswith(_LAYER_TYPE_PREFIXES):
            raise UnsupportedError(
                f"{what} has a layer of the type {layer.media_type}, which is no file system"
            )
    if len(layers) > MAX_LAYERS:
        raise ImageError(f"{what} has {len(layers)} layers, more than {MAX_LAYERS}")
    if config.size_bytes > MAX_CONFIG_BYTES:
        raise ImageError(
            f"{what} has a configuration of {config.size_bytes} bytes, more than {MAX_CONFIG_BYTES}"
        )
    return Manifest(media_type=media_type, config=config, layers=layers)


def parse_config(data: bytes, manifest: Manifest, what: str) -> ConfigDocument:
    """Read an image's configuration and check that it speaks of the manifest's layers."""
    document = _object(_load(data, what), what)
    rootfs = _object(document.get("rootfs") or {}, what)
    diff_ids = tuple(_list(rootfs, "diff_ids", what))
    if not all(isinstance(item, str) and is_digest(item) for item in diff_ids):
        raise ImageError(f"{what} has a malformed rootfs.diff_ids in its configuration")
    if len(diff_ids) != len(manifest.layers):
        raise ImageError(
            f"{what} has {len(manifest.layers)} layers, but its configuration speaks of {len(diff_ids)}"
        )
    run = _object(document.get("config") or {}, what)
    config = ImageConfig(
        entrypoint=_words(run, "Entrypoint", what),
        cmd=_words(run, "Cmd", what),
        env=_words(run, "Env", what),
        user=_text(run, "User", what),
        working_dir=_text(run, "WorkingDir", what),
        exposed_ports=_keys(run, "ExposedPorts", what),
        volumes=_keys(run, "Volumes", what),
        labels=_labels(run, what),
        stop_signal=_text(run, "StopSignal", what),
        architecture=_text(document, "architecture", what),
        os=_text(document, "os", what) or "linux",
        created=_time(document.get("created")),
    )
    return ConfigDocument(config=config, variant=_text(document, "variant", what), diff_ids=diff_ids)


def choose_manifest(index: Index, platform: Platform, what: str) -> Descriptor:
    """The first of the best matches for `platform`; entries without a platform count when nothing names one.

    Raises ImageError naming what there is.
    """
    candidates = [item for item in index.manifests if item.media_type in ACCEPTED_TYPES]
    ranked = [(platform.rank(item.platform), item) for item in candidates if item.platform is not None]
    fitting = [(rank, item) for rank, item in ranked if rank is not None]
    if fitting:
        return min(fitting, key=lambda pair: pair[0])[1]
    unnamed = [item for item in candidates if item.platform is None]
    if unnamed and not ranked:
        return unnamed[0]
    there = sorted({str(item.platform) for item in candidates if item.platform and item.platform.is_real})
    raise ImageError(
        f"{what} has nothing for {platform}; it has {', '.join(there) or 'no images'}",
        hint="choose one with --platform; another processor's image needs emulation in the machine"
        if there
        else None,
    )


def _descriptor(item: object, what: str) -> Descriptor:
    document = _object(item, what)
    digest, size = document.get("digest"), document.get("size")
    media_type = document.get("mediaType")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ImageError(f"{what} has a malformed digest {digest!r}")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB_BYTES:
        raise ImageError(f"{what} gives {digest} the impossible size {size!r}")
    if not isinstance(media_type, str):
        raise ImageError(f"{what} does not say what {digest} is")
    annotations = document.get("annotations")
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size_bytes=size,
        platform=Platform.from_document(document.get("platform")),
        annotations=tuple(
            (key, value)
            for key, value in (annotations.items() if isinstance(annotations, dict) else ())
            if isinstance(value, str)
        ),
    )


def _load(data: bytes, what: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{what} is not valid JSON: {error}") from error


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImageError(f"{what} is malformed: an object is expected where {str(value)[:40]!r} is")
    return value


def _list(document: dict[str, Any], key: str, what: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ImageError(f"{what} is malformed: {key} is not a list")
    return value


def _words(document: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    value = document.get(key)
    if isinstance(value, str):  # some builders write a bare string
        return (value,)
    words = _list(document, key, what)
    if not all(isinstance(word, str) for word in words):
        raise ImageError(f"{what} is malformed: {key} is not a list of strings")
    return tuple(words)


def _text(document: dict[str, Any], key: str, what: str) -> str:
    value = document.get(key) or ""
    if not isinstance(value, str):
        raise ImageError(f"{what} is malformed: {key} is not a string")
    return value


def _keys(document: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    return tuple(_object(document.get(key) or {}, what))


def _labels(document: dict[str, Any], what: str) -> dict[str, str]:
    labels = _object(document.get("Labels") or {}, what)
    return {key: str(value) for key, value in labels.items()}


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def layers_of(manifest: Manifest, document: ConfigDocument) -> tuple[Layer, ...]:
    """An image's layers, lowest first, each with its digest when decompressed."""
    return tuple(
        Layer(digest=layer.digest, size_bytes=layer.size_bytes, media_type=layer.media_type, diff_id=diff_id)
        for layer, diff_id in zip(manifest.layers, document.diff_ids, strict=True)
    )
