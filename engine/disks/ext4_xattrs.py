"""Extended attributes as ext4 keeps them (Linux, Documentation/filesystems/ext4, "Extended Attributes")."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from engine.disks.ext4_records import BLOCK_BYTES, XATTR_ROOM_BYTES
from engine.values import dataclass

_MAGIC = 0xEA020000
_BLOCK_HEADER_BYTES = 32
_ENTRY = struct.Struct("<BBHIII")
_PREFIXES = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))
_ACLS = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}
_ACL_VERSION_OF_CALLS, _ACL_VERSION_ON_DISK = 2, 1
_ACL_WITH_ID = (0x02, 0x08)
"""ACL_USER and ACL_GROUP (linux/posix_acl.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XattrPlaces:
    """What lies behind the inode, and what in a block of its own."""

    in_inode: bytes
    block: bytes


def place_xattrs(pairs: Sequence[tuple[bytes, bytes]]) -> XattrPlaces | None:
    """Lay out an inode's attributes; None when they do not fit. Raises ValueError for one that ext4 cannot hold."""
    entries = sorted(_entry(name, value) for name, value in pairs)
    inside = _laid_out(entries, XATTR_ROOM_BYTES - 4, base=0)
    if inside is not None:
        return XattrPlaces(in_inode=struct.pack("<I", _MAGIC) + inside, block=b"")
    outside = _laid_out(entries, BLOCK_BYTES - _BLOCK_HEADER_BYTES, base=_BLOCK_HEADER_BYTES)
    if outside is None:
        return None
    block_hash = 0
    for _, _, name, value in entries:
        block_hash = _rotated(block_hash, 16) ^ _hash(name, value)
    header = struct.pack("<IIIIII8x", _MAGIC, 1, 1, block_hash, 0, 0)
    return XattrPlaces(in_inode=b"", block=header + outside)


def _entry(name: bytes, value: bytes) -> tuple[int, int, bytes, bytes]:
    """Index of the name's prefix, length of the rest, the rest, the value: in the order entries have on disk."""
    if name in _ACLS:
        return _ACLS[name], 0, b"", _acl_on_disk(value)
    for prefix, index in _PREFIXES:
        rest = name.removeprefix(prefix)
        if rest != name and 0 < len(rest) <= 255:
            return index, len(rest), rest, value
    raise ValueError(f"no file can have the extended attribute {name!r}")


def _laid_out(entries: Sequence[tuple[int, int, bytes, bytes]], room: int, *, base: int) -> bytes | None:
    """Entries from the front, values from the back; offsets count from `base` before the first entry."""
    front, back, end = bytearray(), b"", room
    for index, length, name, value in entries:
        padded = value.ljust(len(value) + 3 & -4, b"\0")
        end -= len(padded)
        if end < 0:
            return None
        back = padded + back
        place = base + end if value else 0
        entry = _ENTRY.pack(length, index, place, 0, len(value), _hash(name, value)) + name
        front += entry.ljust(len(entry) + 3 & -4, b"\0")
    if len(front) + 4 > end:  # four zero bytes end the entries
        return None
    return bytes(front.ljust(end, b"\0")) + back


def _hash(name: bytes, value: bytes) -> int:
    found = 0
    for byte in name:
        found = _rotated(found, 5) ^ byte
    for (word,) in struct.iter_unpack("<I", value.ljust(len(value) + 3 & -4, b"\0")):
        found = _rotated(found, 16) ^ word
    return found


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF


def _acl_on_disk(value: bytes) -> bytes:
    """An access list as system calls have it (linux/posix_acl_xattr.h), in ext4's shorter form (fs/ext4/acl.h)."""
    if len(value) % 8 != 4 or int.from_bytes(value[:4], "little") != _ACL_VERSION_OF_CALLS:
        raise ValueError("an access list is malformed")
    short = struct.pack("<I", _ACL_VERSION_ON_DISK)
    for tag, permissions, owner in struct.iter_unpack("<HHI", value[4:]):
        short += struct.pack("<HH", tag, permissions)
        short += struct.pack("<I", owner) if tag in _ACL_WITH_ID else b""
    return short
