"""Put layers, configurations and manifests that are made here, not fetched, into the store."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from engine.compression import Compression, detect_compression, iter_decompressed
from engine.errors import ImageError
from engine.images.blobs import adopt_blob, write_blob
from engine.images.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, digest_of
from engine.images.platforms import Platform
from engine.layout import Layout
from engine.model import ImageConfig
from engine.values import dataclass

_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 512
_LAYER_SUFFIXES = {Compression.NONE: "", Compression.GZIP: "+gzip", Compression.ZSTD: "+zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A layer that is in the store, and its digest when decompressed."""

    descriptor: Descriptor
    diff_id: str


def store_layer(layout: Layout, source: IO[bytes], *, limit_bytes: int, what: str) -> StoredLayer:
    """Store what `source` gives as a layer, compressed as it is.

    Raises ImageError when it is no tar archive, UnsupportedError for other compression than gzip and zstd,
    ResourceExhaustedError when it decompresses to more than `limit_bytes`.
    """
    digest = hashlib.sha256()
    size = 0
    with tempfile.NamedTemporaryFile(dir=layout.tmp_dir, prefix="layer-", delete=False) as file:
        path = Path(file.name)
        try:
            while piece := source.read(_CHUNK_BYTES):
                digest.update(piece)
                file.write(piece)
                size += len(piece)
            file.flush()
            kind, diff_id = _examine(path, limit_bytes, what)
            media_type = OCI_LAYER + _LAYER_SUFFIXES[kind]
            blob = Descriptor(media_type=media_type, digest=f"sha256:{digest.hexdigest()}", size_bytes=size)
            adopt_blob(layout, blob.digest, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return StoredLayer(descriptor=blob, diff_id=diff_id)


def _examine(path: Path, limit_bytes: int, what: str) -> tuple[Compression, str]:
    """How the archive is compressed, and the digest of what comes out."""
    digest = hashlib.sha256()
    head = b""
    with path.open("rb") as file:
        kind = detect_compression(file.read(8))
        file.seek(0)
        for piece in iter_decompressed(file, limit_bytes=limit_bytes, what=what):
            head = head or piece[:_BLOCK_BYTES]
            digest.update(piece)
    if not _is_tar_header(head):
        raise ImageError(
            f"{what} is not a tar archive", hint="give a tar of a root file system, plain, gzip or zstd"
        )
    return kind, f"sha256:{digest.hexdigest()}"


def _is_tar_header(block: bytes) -> bool:
    """A block of zeros (an empty archive), or one whose checksum is right (POSIX.1-2008 pax, "ustar Header Block")."""
    if len(block) < _BLOCK_BYTES:
        return False
    claimed = block[148:156].strip(b" \0")
    is_octal = claimed.isdigit() and not claimed.strip(b"01234567")
    return not any(block) or (is_octal and int(claimed, 8) == sum(block) - sum(block[148:156]) + 8 * ord(" "))


def config_document(
    config: ImageConfig, platform: Platform, diff_ids: Sequence[str], created: str, comment: str = ""
) -> bytes:
    """An OCI image configuration (image-spec, config.md)."""
    step = {"created": created, "created_by": "boxlite import"} | ({"comment": comment} if comment else {})
    run: dict[str, Any] = {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Env": list(config.env),
        "User": config.user,
        "WorkingDir": config.working_dir,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Volumes": {volume: {} for volume in config.volumes},
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
    }
    document: dict[str, Any] = {
        "created": created,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {key: value for key, value in run.items() if value},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [step for _ in diff_ids],
    }
    if platform.variant:
        document["variant"] = platform.variant
    return _json(document)


def store_manifest(layout: Layout, config: bytes, layers: Sequence[Descriptor]) -> str:
    """Store a configuration and an OCI manifest of it and `layers`; the manifest's digest."""
    config_digest = digest_of(config)
    write_blob(layout, config_digest, config)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config_digest, "size": len(config)},
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}
            for layer in layers
        ],
    }
    manifest = _json(document)
    digest = digest_of(manifest)
    write_blob(layout, digest, manifest)
    return digest


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
