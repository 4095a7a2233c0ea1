"""A layer's archive, decompressed into a nameless temporary file and indexed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Event
from typing import IO

from engine.compression import Compression, detect_compression, iter_decompressed
from engine.disks.growing import BegunAnewError, GrowingFile
from engine.disks.tar_entry import TarEntry
from engine.disks.tar_reader import iter_entries
from engine.errors import BoxliteError, ImageError, InternalError, ResourceExhaustedError
from engine.fsutil import storage_error
from engine.values import dataclass

MAX_ENTRIES = 2_000_000
"""Of one archive. Each takes half a KiB of memory, but hardly a byte of a compressed archive that repeats it."""

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
    growing: GrowingFile | None = None,
) -> Spool:
    """Decompress the archive at `path` into `directory` and read its headers.

    With `diff_id`, the plain archive's digest must be that one; `digest`, where known, is that of the file as it is, already
    verified, so that a file that is plain already is read in its place. Decompressing and hashing run side by side. Raises
    ImageError for a damaged archive, ResourceExhaustedError past `limit_bytes` or on a full disk.

    With `growing`, the file gets to `path` only once it is whole and verified. What there is of it is decompressed
    meanwhile, but nothing is returned, and nothing said of damage, before that.
    """

    def spooled(source: IO[bytes]) -> Spool:
        pieces = _until(cancelled, iter_decompressed(source, limit_bytes=limit_bytes, what=what))
        return _indexed(_spooled(pieces, directory, diff_id, what), what)

    try:
        if growing is not None and (spool := _spool_growing(growing, spooled)) is not None:
            return spool
        with path.open("rb") as source:
            is_plain = _is_plain(source)
            if is_plain and diff_id in (None, digest) and path.stat().st_size <= limit_bytes:
                return _indexed(os.dup(source.fileno()), what)
            return spooled(source)
    except OSError as error:
        raise storage_error(error, f"decompressing {what}") from error


def _spool_growing(growing: GrowingFile, spooled: Callable[[IO[bytes]], Spool]) -> Spool | None:
    """Decompress a file while it grows, and wait until it is whole. None where it has to be read at its place."""
    spool, failure = None, None
    try:
        with growing.opened() as source:
            if source is not None and not _is_plain(source):
                spool = spooled(source)
    except BoxliteError as error:
        failure = error  # of the archive, if it turns out to be the right one
    except BegunAnewError:
        pass
    try:
        growing.wait_until_whole()
    except BaseException as error:
        if spool is not None:
            spool.close()
        if isinstance(error, BegunAnewError):
            return None
        raise
    if failure is not None:
        raise failure
    return spool


def _is_plain(source: IO[bytes]) -> bool:
    kind = detect_compression(source.read(8))
    source.seek(0)
    return kind is Compression.NONE


def _indexed(fd: int, what: str) -> Spool:
    """A spool of the plain archive in `fd`, which becomes its own."""
    try:
        found = iter_entries(fd, os.fstat(fd).st_size, what=what)
        entries = list(islice(found, MAX_ENTRIES + 1))
        if len(entries) > MAX_ENTRIES:
            raise ResourceExhaustedError(f"{what} has more than {MAX_ENTRIES} entries")
        return Spool(fd=fd, entries=entries)
    except BaseException:
        os.close(fd)
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
