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
from engine.process import SAFE_PATH, Command

_HEADER = struct.Struct(
    ">4sIQIIQ"
)  # qemu, docs/interop/qcow2.rst: magic, version, backing file's place, cluster bits, size
_MAGIC = b"QFI\xfb"


def build_qemu_img_create(overlay: Path, base: Path, size_bytes: int) -> Command:
    """The command that makes an empty overlay. `base` need not exist yet: only its name is written down."""
    return Command(
        argv=(
            "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", str(base),
            "-o", "lazy_refcounts=off,compat=1.1", str(overlay), str(size_bytes),
        ),
        env={"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


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
