"""A user of its own for every machine that root starts, and the files it needs handed over to it.

What all boxes read belongs to root and to one group that
every box is in, so that nothing of a home is readable to the rest of the system.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from engine.jailer.grants import Access, Identity, Jail
from engine.jailer.identity import SHARED_GID, claim_id


class Claim:
    """An identity that is ours until it is closed, or our process ends."""

    def __init__(self, identity: Identity, held: socket.socket) -> None:
        self.identity = identity
        self._held = held

    @classmethod
    def of(cls, uid: int | None = None, gid: int | None = None) -> Claim:
        """The user and group asked for; where none is, a number that nobody has."""
        own, held = claim_id()
        chosen = Identity(
            uid=own if uid is None else uid, gid=own if gid is None else gid, shared_gid=SHARED_GID
        )
        return cls(chosen, held)

    def close(self) -> None:
        self._held.close()


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
