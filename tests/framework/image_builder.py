"""Images made by hand, byte by byte, so that a test decides everything about them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One member of a layer, as tarfile (not our own code) will write it."""

    name: str | bytes
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 1_700_000_000
    link: str | bytes = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    pax: dict[str, str] = field(default_factory=dict)


def file(name: str | bytes, content: bytes = b"", **rest: Any) -> Entry:
    return Entry(name=name, content=content, **rest)


def folder(name: str | bytes, **rest: Any) -> Entry:
    return Entry(name=name, kind=tarfile.DIRTYPE, **{"mode": 0o755, **rest})


def symlink(name: str | bytes, target: str | bytes, **rest: Any) -> Entry:
    return Entry(name=name, kind=tarfile.SYMTYPE, link=target, **{"mode": 0o777, **rest})


def hardlink(name: str | bytes, target: str | bytes, **rest: Any) -> Entry:
    return Entry(name=name, kind=tarfile.LNKTYPE, link=target, **rest)


def whiteout(name: str) -> Entry:
    head, slash, tail = name.rpartition("/")
    return Entry(name=f"{head}{slash}.wh.{tail}")


def opaque(name: str) -> Entry:
    return Entry(name=f"{name}/.wh..wh..opq")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def layer_tar(entries: Sequence[Entry], *, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    """A plain archive of the entries, in their order."""
    pieces = []
    for entry in entries:
        pieces += [_header(entry, tar_format), entry.content, bytes(-len(entry.content) % tarfile.BLOCKSIZE)]
    size = sum(map(len, pieces)) + 2 * tarfile.BLOCKSIZE
    return b"".join((*pieces, bytes(2 * tarfile.BLOCKSIZE + -size % tarfile.RECORDSIZE)))


def _header(entry: Entry, tar_format: int) -> bytes:
    """What tarfile writes before the content. Of thousands of plain files or directories it is asked for one: the others
    differ in a few fields."""
    if not _is_plain(entry):
        return tarfile_header(entry, tar_format)
    header = bytearray(_plain_header(entry.kind, entry.mode, entry.gid, tar_format))
    name = entry.name.encode() if isinstance(entry.name, str) else entry.name
    name += b"/" if entry.kind == tarfile.DIRTYPE and not name.endswith(b"/") else b""
    header[:100] = name.ljust(100, b"\0")
    header[108:116] = b"%07o\0" % entry.uid
    header[124:136] = b"%011o\0" % len(entry.content)
    header[136:148] = b"%011o\0" % int(entry.mtime)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _is_plain(entry: Entry) -> bool:
    return (
        entry.kind in (tarfile.REGTYPE, tarfile.DIRTYPE)
        and not (entry.link or entry.xattrs or entry.pax)
        and entry.device == (0, 0)
        and 0 < len(entry.name) < 100
        and entry.name.isascii()
        and 0 <= entry.uid < 8**7
        and 0 <= entry.gid < 8**7
        and isinstance(entry.mtime, int)
        and 0 <= entry.mtime < 8**11
    )


@functools.lru_cache
def _plain_header(kind: bytes, mode: int, gid: int, tar_format: int) -> bytes:
    return tarfile_header(Entry(name="x", kind=kind, mode=mode, gid=gid), tar_format)


def tarfile_header(entry: Entry, tar_format: int) -> bytes:
    """The header, with those that go before it."""
    member = tarfile.TarInfo(_text(entry.name))
    member.type, member.mode, member.size = entry.kind, entry.mode, len(entry.content)
    member.uid, member.gid, member.mtime = entry.uid, entry.gid, entry.mtime
    member.linkname = _text(entry.link)
    member.devmajor, member.devminor = entry.device
    member.pax_headers = dict(entry.pax) | {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
        for name, value in entry.xattrs.items()
    }
    return member.tobuf(tar_format, "utf-8", "surrogateescape")


def digest_of(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """A manifest or index with all it refers to. `blobs` are what goes to `/blobs/`, `documents` what goes to
    `/manifests/` beside the document itself, each with its media type."""

    document: bytes
    media_type: str
    blobs: dict[str, bytes]
    documents: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return digest_of(self.document)

    @property
    def layers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.document)["layers"]
        return found

    def descriptor(self, **platform: str) -> dict[str, Any]:
        plain = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.document)}
        return {**plain, "platform": platform} if platform else plain


@functools.lru_cache(maxsize=8)
def compress(plain: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(plain, compresslevel=1, mtime=0)
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().compress(plain)
    return plain


def build_image(
    layers: Sequence[Sequence[Entry] | bytes],
    *,
    flavour: str = "oci",
    compression: str = "gzip",
    config: dict[str, Any] | None = None,
    architecture: str = "amd64",
    manifest_changes: dict[str, Any] | None = None,
    config_changes: dict[str, Any] | None = None,
) -> BuiltImage:
    """An image of these layers, each a list of entries or a plain archive."""
    plain = [layer if isinstance(layer, bytes) else layer_tar(layer) for layer in layers]
    packed = [compress(layer, compression) for layer in plain]
    if flavour == "oci":
        suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[compression]
        layer_type = f"{OCI}.layer.v1.tar{suffix}"
        config_type, manifest_type = f"{OCI}.config.v1+json", f"{OCI}.manifest.v1+json"
    else:
        layer_type = f"{DOCKER}.image.rootfs.diff.tar" + (".gzip" if compression == "gzip" else "")
        config_type, manifest_type = (
            f"{DOCKER}.container.image.v1+json",
            f"{DOCKER}.distribution.manifest.v2+json",
        )
    configuration = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]} if config is None else config,
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in plain]},
        **(config_changes or {}),
    }
    config_blob = json.dumps(configuration).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type, "digest": digest_of(config_blob), "size": len(config_blob)},
        "layers": [
            {"mediaType": layer_type, "digest": digest_of(blob), "size": len(blob)} for blob in packed
        ],
        **(manifest_changes or {}),
    }
    return BuiltImage(
        document=json.dumps(manifest).encode(),
        media_type=manifest_type,
        blobs={digest_of(blob): blob for blob in (config_blob, *packed)},
    )


def build_index(images: Sequence[tuple[BuiltImage, dict[str, str]]], *, flavour: str = "oci") -> BuiltImage:
    """An index of images and their platforms."""
    media_type = (
        f"{OCI}.index.v1+json" if flavour == "oci" else f"{DOCKER}.distribution.manifest.list.v2+json"
    )
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [image.descriptor(**platform) for image, platform in images],
    }
    blobs: dict[str, bytes] = {}
    documents: dict[str, tuple[bytes, str]] = {}
    for image, _ in images:
        blobs |= image.blobs
        documents |= {**image.documents, image.digest: (image.document, image.media_type)}
    return BuiltImage(
        document=json.dumps(document).encode(), media_type=media_type, blobs=blobs, documents=documents
    )
