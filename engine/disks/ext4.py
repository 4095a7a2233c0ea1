"""Tell a whole ext4 file system from anything else."""

from __future__ import annotations

import struct
from pathlib import Path

_PLACE = 1024 + 56
_MAGIC_AND_STATE = struct.Struct("<HH")  # Documentation/filesystems/ext4, "Super Block"
_WHOLE = (0xEF53, 1)


def is_clean_ext4(path: Path) -> bool:
    """Does the file begin with the superblock of a cleanly written ext4?"""
    with path.open("rb") as file:
        file.seek(_PLACE)
        head = file.read(_MAGIC_AND_STATE.size)
    return len(head) == _MAGIC_AND_STATE.size and _MAGIC_AND_STATE.unpack(head) == _WHOLE
