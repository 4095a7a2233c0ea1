"""How control groups are mounted, and whether this user may make any (cgroups(7); the kernel's
Documentation/admin-guide/cgroup-v2.rst, "Delegation")."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from engine.values import dataclass


class CgroupMode(StrEnum):
    UNIFIED = "v2"
    HYBRID = "hybrid"
    LEGACY = "v1"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroups:
    """`path` is the directory of this process's own group (version 2), where it may make others if `delegated`;
    `controllers` are those it could give them."""

    mode: CgroupMode
    delegated: bool = False
    path: Path | None = None
    controllers: tuple[str, ...] = ()


def find_cgroups(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> Cgroups:
    """Look at what is mounted at `root`."""
    if not (root / "cgroup.controllers").exists():
        if (root / "unified" / "cgroup.procs").exists():
            return Cgroups(mode=CgroupMode.HYBRID)
        legacy = any((root / name).is_dir() for name in ("memory", "cpu", "pids"))
        return Cgroups(mode=CgroupMode.LEGACY if legacy else CgroupMode.NONE)
    own = next((line[3:] for line in membership.read_text().splitlines() if line.startswith("0::")), "/")
    path = root / own.lstrip("/")
    if not path.is_dir():
        return Cgroups(mode=CgroupMode.UNIFIED)
    writable = all(
        os.access(path / name, os.W_OK) for name in (".", "cgroup.procs", "cgroup.subtree_control")
    )
    return Cgroups(
        mode=CgroupMode.UNIFIED,
        delegated=writable,
        path=path,
        controllers=tuple((path / "cgroup.controllers").read_text().split()),
    )
