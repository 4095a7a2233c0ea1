"""A user of its own for every box that root starts, and the files it needs handed over to it.

The numbers lie in a range that neither people, services, containers nor anything else of the system has
(systemd, docs/UIDS-GIDS.md: 1879048192 to 2147483647 is unused). What all boxes read belongs to root and to one group that
every box is in, so that nothing of a home is readable to the rest of the system.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from engine.jailer.grants import Access, Identity, Jail

FIRST_ID = 1879048192
SHARED_GID = FIRST_ID
IDS = 2**28 - 1


def ensure_identity(directory: Path) -> Identity:
    """The user and group of what lives in `directory`: those of the directory's group, which nobody else beside it has.
    The first call chooses them. Raises OSError."""
    own = directory.stat().st_gid
    if own <= SHARED_GID:
        taken = {entry.stat(follow_symlinks=False).st_gid for entry in os.scandir(directory.parent)}
        attempt = 0
        while (own := derived_id(directory.name, attempt)) in taken:
            attempt += 1
        os.chown(directory, -1, own)
    return Identity(uid=own, gid=own, shared_gid=SHARED_GID)


def derived_id(name: str, attempt: int = 0) -> int:
    """The `attempt`-th choice for a name, in the range of boxes. Pure."""
    digest = hashlib.sha256(f"{attempt}/{name}".encode()).digest()
    return FIRST_ID + 1 + int.from_bytes(digest[:8], "big") % IDS


def hand_over(jail: Jail) -> None:
    """Give the files of a jail to its user: what it writes becomes its own, what boxes share readable for their group.
    Does nothing where they are already. Raises OSError."""
    identity = jail.identity
    if identity is None:
        return
    for grant in jail.grants:
        if grant.shared:
            _share(Path(grant.path), identity.shared_gid)
        elif grant.access is Access.WRITE and not grant.foreign:
            os.chown(grant.path, identity.uid, identity.gid)


def _share(path: Path, gid: int) -> None:
    """Readable for its owner and the group of boxes, for nobody else."""
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode) & 0o700 | (status.st_mode & 0o500) >> 3
    if status.st_gid != gid:
        os.chown(path, -1, gid)
    if stat.S_IMODE(status.st_mode) != mode:
        path.chmod(mode)


def take_back(*paths: Path) -> None:
    """Make files ours again that were handed over."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, 0, 0)
