"""The machine's devices."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any


def find_disk(serial: str) -> Path | None:
    """The block device with a serial number."""
    for entry in Path("/sys/block").glob("vd*"):
        with contextlib.suppress(OSError):
            if (entry / "serial").read_text().strip() == serial:
                return Path("/dev") / entry.name
    return None


def leave_disks_to_the_host() -> None:
    """Neither order nor hold back what goes to the disks: the host does both for its own, with all machines in view
    (Documentation/ABI/stable/sysfs-block: scheduler, wbt_lat_usec)."""
    for queue in Path("/sys/block").glob("vd*/queue"):
        for knob, value in (("scheduler", "none"), ("wbt_lat_usec", "0")):
            with contextlib.suppress(OSError):
                (queue / knob).write_text(value)


def find_devices() -> list[dict[str, Any]]:
    """The machine's device nodes as OCI device objects: a privileged container sees them all."""
    devices: list[dict[str, Any]] = []
    for folder, folders, names in os.walk("/dev"):
        folders[:] = [name for name in folders if name not in ("pts", "shm", "mqueue", "hugepages", "fd")]
        for name in names:
            path = f"{folder}/{name}"
            found = os.lstat(path)
            kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
            if kind and not name.startswith("vport"):
                devices.append({
                    "path": path, "type": kind, "major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev),
                    "fileMode": stat.S_IMODE(found.st_mode), "uid": 0, "gid": 0,
                })  # fmt: skip
    return devices
