"""Blobs on disk, by digest: whole and verified, or not there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from engine.errors import MetadataError
from engine.fsutil import hold_lock, storage_error, write_atomic
from engine.images.manifest import Descriptor, check_digest
from engine.layout import Layout

_LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}\n'


def ensure_layout(layout: Layout) -> None:
    """Make the directories of an OCI image layout (image-spec, image-layout.md)."""
    try:
        for directory in (layout.images_dir / "blobs", layout.images_dir / "blobs" / "sha256"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.tmp_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = layout.images_dir / "oci-layout"
        if not marker.exists():
            write_atomic(marker, _LAYOUT_FILE)
    except OSError as error:
        raise storage_error(error, "making the image store") from error


def has_blob(layout: Layout, digest: str, size_bytes: int | None = None) -> bool:
    """Is it there, with that size? Content was verified before it got its name."""
    try:
        status = layout.blob_path(digest).stat()
    except FileNotFoundError:
        return False
    return size_bytes is None or status.st_size == size_bytes


def read_blob(layout: Layout, digest: str) -> bytes:
    """A small blob, verified again. Raises MetadataError when it is gone."""
    try:
        data = layout.blob_path(digest).read_bytes()
    except FileNotFoundError as error:
        raise MetadataError(
            f"blob {digest} is missing from the image store", hint="pull the image again to mend it"
        ) from error
    check_digest(data, digest, f"blob {digest} of the image store")
    return data


def write_blob(layout: Layout, digest: str, data: bytes) -> None:
    """Store verified bytes under their digest. Idempotent."""
    if has_blob(layout, digest, len(data)):
        return
    path = layout.blob_path(digest)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise storage_error(error, "storing a blob") from error


@contextlib.asynccontextmanager
async def claim_blob(layout: Layout, blob: Descriptor) -> AsyncIterator[Path | None]:
    """Be the only one, of any process, to bring in `blob`. Yields the file to fill, with what an earlier attempt left in
    it, or None when the blob is there. When the block ends well, the file takes its place among the blobs."""
    if has_blob(layout, blob.digest, blob.size_bytes):
        yield None
        return
    name = blob.digest.replace(":", "-")
    lock = layout.locks_dir / f"blob-{name}.lock"
    async with hold_lock(lock):
        if has_blob(layout, blob.digest, blob.size_bytes):
            yield None
        else:
            part = layout.tmp_dir / f"blob-{name}.part"
            yield part
            adopt_blob(layout, blob.digest, part)
        with contextlib.suppress(FileNotFoundError):
            lock.unlink()  # while it is held: those who wait for it see that it is gone and take a new one


def adopt_blob(layout: Layout, digest: str, file: Path) -> None:
    """Give a verified file its place in the store."""
    path = layout.blob_path(digest)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.chmod(0o600)
        file.replace(path)
    except OSError as error:
        raise storage_error(error, "storing a blob") from error
