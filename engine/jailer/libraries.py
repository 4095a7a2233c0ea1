"""Where a host program's shared libraries are, so that a jail can show just those."""

from __future__ import annotations

import platform
from pathlib import Path

from engine.jailer.grants import Grant, read

_CANDIDATES = (
    "/lib/{triplet}",
    "/usr/lib/{triplet}",
    "/lib64",
    "/usr/lib64",
    "/etc/ld.so.cache",
)


def library_grants() -> tuple[Grant, ...]:
    """The directories of shared libraries of this host's own architecture (Debian's multiarch and the lib64 of others)."""
    triplet = f"{platform.machine()}-linux-gnu"
    paths = (Path(candidate.format(triplet=triplet)) for candidate in _CANDIDATES)
    return tuple(read(str(path)) for path in paths if path.exists())
