"""The box's disk in the machine: found, mounted as the container's root, held still, parted from."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from guest.devices import find_disk
from guest.errors import GuestError
from guest.mounts import MS_NOATIME, freeze, mount, sync_file_system, thaw, unmount
from guest.wire.constants import BOX_DISK_SERIAL

_MOUNT_OPTIONS = "noinit_itable,no_prefetch_block_bitmaps"
"""Both together keep the file system from starting a thread of its own (ext4(5))."""


class BoxDisk:
    """The disk with the box's serial, if the machine has one. `root` is where it is mounted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.device = find_disk(BOX_DISK_SERIAL)
        """The block device; None in a machine without one."""
        self.mounted = False
        self._frozen = False

    def mount(self, *, ephemeral: bool) -> None:
        """`ephemeral`: nobody will ever read it again. Raises GuestError when there is none, OSError."""
        if self.device is None:
            raise GuestError("invalid_state", f"the machine has no disk with the serial {BOX_DISK_SERIAL}")
        self.root.mkdir(exist_ok=True)
        options = f"{_MOUNT_OPTIONS},nobarrier,noload" if ephemeral else _MOUNT_OPTIONS
        mount(str(self.device), str(self.root), "ext4", MS_NOATIME, options)
        self.mounted = True

    def unmount(self) -> None:
        """Write everything to it and part from it; one that is still used stays mounted."""
        sync_file_system(str(self.root))
        with contextlib.suppress(OSError):
            unmount(str(self.root))
            self.mounted = False

    def quiesce(self) -> int:
        """Hold writes back until `thaw`; how many file systems that was done to."""
        if not self.mounted or self._frozen:
            return 0
        freeze(str(self.root))
        self._frozen = True
        return 1

    def thaw(self) -> int:
        if not self._frozen:
            return 0
        thaw(str(self.root))
        self._frozen = False
        return 1

    def usage(self) -> tuple[int, int]:
        """Bytes used and all bytes of the container's file system."""
        if not self.mounted:
            return 0, 0
        found = os.statvfs(self.root)
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize
