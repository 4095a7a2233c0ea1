"""A layer's archive, decompressed into a nameless temporary file and indexed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from engine.compression import Compression, detect_compression, iter_decompressed
from engine.disks.tar_entry import TarEntry
from engine.disks.tar_reader import iter_entries
from engine.errors import ImageError, InternalError
from engine.fsutil import storage_error

_CHUNKS_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """`fd` reads the plain archive and belongs to the spool; entries point into it by offset."""

    fd: int
    entries: list[TarEntry]

    @property
    def is_packed(self) -> bool:
        return True

    def descriptor(self, entry: TarEntry) -> int:
        return self.fd

    def close(self) -> None:
        os.close(self.fd)


def spool_archive(
    path: Path,
    directory: Path,
    *,
    limit_bytes: int,
    what: str,
    digest: str | None = None,
    diff_id: str | None = None,
    cancelled: Event | None = None,
) -> Spool:
    """Decompress the archive at `path` into `directory` and read its headers.

    With `diff_id`, the plain archive's digest must be that one; `digest`, where known, is that of the file as it is, already
    verified, so that a file that is plain already is read in its place. Decompressing and hashing run side by side. Raises
    ImageError for a damaged archive, ResourceExhaustedError past `limit_bytes` or on a full disk.
    """
    fd = -1
    try:
        with path.open("rb") as source:
            is_plain = detect_compression(source.read(8)) is Compression.NONE
            if is_plain and diff_id in (None, digest) and path.stat().st_size <= limit_bytes:
                fd = os.dup(source.fileno())
            else:
                source.seek(0)
                pieces = iter_decompressed(source, limit_bytes=limit_bytes, what=what)
                fd = _spooled(_until(cancelled, pieces), directory, diff_id, what)
        return Spool(fd=fd, entries=list(iter_entries(fd, os.fstat(fd).st_size, what=what)))
    except BaseException as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, OSError):
            raise storage_error(error, f"decompressing {what}") from error
        raise


def _spooled(pieces: Iterator[bytes], directory: Path, diff_id: str | None, what: str) -> int:
    algorithm, _, wanted = (diff_id or "sha256:").partition(":")
    digest = hashlib.new(algorithm)

    with tempfile.TemporaryFile(dir=directory, buffering=0) as file, ThreadPoolExecutor(1) as beside:

        def keep(piece: bytes) -> None:
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
            if diff_id is not None:
                digest.update(piece)

        waiting: list[Future[None]] = []
        for piece in pieces:
            waiting.append(beside.submit(keep, piece))
            if len(waiting) > _CHUNKS_IN_FLIGHT:
                waiting.pop(0).result()
        for future in waiting:
            future.result()
        if diff_id is not None and digest.hexdigest() != wanted:
            raise ImageError(
                f"{what} decompresses to {algorithm}:{digest.hexdigest()}, but its image says {diff_id}",
                hint="the image is damaged or was tampered with; ask who publishes it",
            )
        return os.dup(file.fileno())


def _until(cancelled: Event | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if cancelled is not None and cancelled.is_set():
            raise InternalError("cancelled")
        yield piece
