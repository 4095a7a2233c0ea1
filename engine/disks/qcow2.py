"""Overlays: qcow2 files that hold what a box changes, on top of a base that nobody changes."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
from pathlib import Path

from engine.errors import StorageError
from engine.fsutil import storage_error
from engine.model import RootfsDisk

_HEADER = struct.Struct(
    ">4sIQIIQ"
)  # qemu, docs/interop/qcow2.rst: magic, version, backing file's place, cluster bits, size
_REST_OF_HEADER = struct.Struct(">IIQQIIQQQQII")
"""Encryption, first-level entries and table, table of reference counts and its clusters, snapshots and their table, three sets
of features, log2 of a count's bits, length of the header."""
_MAGIC = b"QFI\xfb"
_BACKING_FORMAT = 0xE2792ACA
_CLUSTER_BITS = 16
_CLUSTER_BYTES = 1 << _CLUSTER_BITS


def write_empty_overlay(overlay: Path, base: Path, size_bytes: int) -> None:
    """Make an overlay that holds nothing. `base` need not exist yet: only its name is written down.

    A cluster each for the header, the table of reference counts, its one block, and then the (empty) first-level table.
    """
    name = os.fsencode(base)
    entries = -(-size_bytes // (_CLUSTER_BYTES * (_CLUSTER_BYTES // 8)))
    tables = -(-entries * 8 // _CLUSTER_BYTES)
    format_note = struct.pack(">II", _BACKING_FORMAT, 3) + b"raw".ljust(8, b"\0")
    name_offset = _HEADER.size + _REST_OF_HEADER.size + len(format_note) + 8
    if name_offset + len(name) > _CLUSTER_BYTES or len(name) > 1023:
        raise StorageError(f"the path {base} is too long for a disk's backing file")
    header = _HEADER.pack(_MAGIC, 3, name_offset, len(name), _CLUSTER_BITS, size_bytes)
    rest = _REST_OF_HEADER.pack(
        0,
        entries,
        3 * _CLUSTER_BYTES,
        _CLUSTER_BYTES,
        1,
        0,
        0,
        0,
        0,
        0,
        4,
        _HEADER.size + _REST_OF_HEADER.size,
    )
    with overlay.open("xb") as file:
        file.write(header + rest + format_note + bytes(8) + name)
        file.seek(_CLUSTER_BYTES)
        file.write(struct.pack(">Q", 2 * _CLUSTER_BYTES))
        file.seek(2 * _CLUSTER_BYTES)
        file.write(struct.pack(">H", 1) * (3 + tables))
        file.truncate((3 + tables) * _CLUSTER_BYTES)


def is_overlay_of(overlay: Path, base: Path, size_bytes: int) -> bool:
    """Is this a qcow2 of that size backed by that file?"""
    return _read_header(overlay) == (size_bytes, os.fsencode(base))


def find_backing_file(overlay: Path) -> Path | None:
    """What an overlay is backed by; None when it is not there or no overlay."""
    try:
        header = _read_header(overlay)
    except FileNotFoundError:
        return None
    return Path(os.fsdecode(header[1])) if header and header[1] else None


def _read_header(overlay: Path) -> tuple[int, bytes] | None:
    """The disk's size and its backing file's name; None for what is no qcow2."""
    with overlay.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            return None
        magic, _, name_offset, name_bytes, _, size = _HEADER.unpack(head)
        file.seek(name_offset)
        name = file.read(min(name_bytes, 4096))
    return (size, name) if magic == _MAGIC else None


async def create_overlay(disk: RootfsDisk, path: Path) -> None:
    """Give a box a disk of its own at `path`: a copy of the empty overlay, a few hundred kilobytes."""
    await asyncio.to_thread(_copy, Path(disk.overlay_path), path)


def _copy(source: Path, target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.new")  # whole or not there: a start finds it after a kill
    try:
        shutil.copyfile(source, unfinished)
        unfinished.chmod(0o600)
        unfinished.replace(target)
    except FileNotFoundError as error:
        raise StorageError(f"the box's disk cannot be made: {error.filename} does not exist") from error
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise storage_error(error, "making the box's disk") from error
