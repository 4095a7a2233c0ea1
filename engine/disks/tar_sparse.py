"""Sparse files in tar archives: GNU's own format, and 0.0, 0.1 and 1.0 in pax headers (GNU tar manual, "Sparse Formats")."""

from __future__ import annotations

from engine.disks.tar_entry import TarEntry
from engine.disks.tar_fields import BLOCK_BYTES, Window, decimal, number, shown
from engine.errors import ImageError

MAX_SPARSE_REGIONS = 1 << 17


def read_gnu_sparse(window: Window, entry: TarEntry, offset: int, what: str) -> int:
    """Old GNU format: four regions in the header, more in blocks after it. Returns where the data begin."""
    header = window.read(offset, BLOCK_BYTES)
    regions = _gnu_regions(header[386:482], offset, what)
    more = header[482]
    entry.size_bytes = number(header[483:495], "size", offset, what)
    position = offset + BLOCK_BYTES
    while more:
        block = window.read(position, BLOCK_BYTES)
        regions += _gnu_regions(block[:504], position, what)
        more = block[504]
        position += BLOCK_BYTES
        _check_regions(len(regions), what)
    entry.data_offset = position
    _set_regions(entry, regions, what)
    return position


def _gnu_regions(raw: bytes, offset: int, what: str) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(raw) - 23, 24):
        if raw[at] == 0:
            break
        found.append(
            (
                number(raw[at : at + 12], "size", offset, what),
                number(raw[at + 12 : at + 24], "size", offset, what),
            )
        )
    return found


def read_pax_sparse(
    window: Window, entry: TarEntry, pax: dict[bytes, bytes], pairs: list[bytes], what: str
) -> None:
    """GNU sparse formats 0.0, 0.1 and 1.0 in pax headers."""
    if pax.get(b"GNU.sparse.major") == b"1":
        numbers = _sparse_1_0_map(window, entry, what)
    elif b"GNU.sparse.map" in pax:
        numbers = [decimal(text, "sparse map", what) for text in pax[b"GNU.sparse.map"].split(b",") if text]
    elif b"GNU.sparse.size" in pax:
        numbers = [decimal(text, "sparse map", what) for text in pairs]
    else:
        return
    real = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b""
    entry.size_bytes = decimal(real, "sparse size", what)
    entry.path = pax.get(b"GNU.sparse.name") or entry.path
    if len(numbers) % 2 or b"\0" in entry.path:
        raise ImageError(f"{what} is damaged: the sparse file {shown(entry.path)} has a malformed map")
    _set_regions(entry, list(zip(numbers[::2], numbers[1::2], strict=True)), what)


def _sparse_1_0_map(window: Window, entry: TarEntry, what: str) -> list[int]:
    """Decimal numbers, a line each, at the head of the data: how many regions, then the regions; padded to a block."""
    position, end = entry.data_offset, entry.data_offset + entry.stored_bytes
    blocks: list[bytes] = []
    lines = 0
    wanted: int | None = None
    while wanted is None or lines <= wanted:
        if position >= end:
            raise ImageError(f"{what} is damaged: the map of the sparse file {shown(entry.path)} has no end")
        blocks.append(window.read(position, BLOCK_BYTES))
        position += BLOCK_BYTES
        lines += blocks[-1].count(b"\n")
        if wanted is None and lines:
            wanted = 2 * decimal(b"".join(blocks).split(b"\n", 1)[0], "sparse map", what)
            _check_regions(wanted // 2, what)
    entry.stored_bytes -= position - entry.data_offset
    entry.data_offset = position
    return [decimal(line, "sparse map", what) for line in b"".join(blocks).split(b"\n")[1 : wanted + 1]]


def _check_regions(count: int, what: str) -> None:
    if count > MAX_SPARSE_REGIONS:
        raise ImageError(f"{what} has a sparse file in more than {MAX_SPARSE_REGIONS} pieces")


def _set_regions(entry: TarEntry, regions: list[tuple[int, int]], what: str) -> None:
    end = stored = 0
    for offset, length in regions:
        if offset < end or offset + length > entry.size_bytes:
            raise ImageError(f"{what} is damaged: the regions of the sparse file {shown(entry.path)} overlap")
        end = offset + length
        stored += length
    if stored != entry.stored_bytes:
        raise ImageError(
            f"{what} is damaged: the regions of the sparse file {shown(entry.path)} do not add up"
        )
    entry.regions = tuple(region for region in regions if region[1])
