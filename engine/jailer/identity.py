"""Who a jailed process is outside, as the gate has it: a slot at a known place, which can be filled in at the last moment
by a program that has loaded next to nothing.

The numbers lie in a range that neither people, services, containers nor anything else of the system has
(systemd, docs/UIDS-GIDS.md: 1879048192 to 2147483647 is unused).
"""

from __future__ import annotations

import errno
import os
import socket
import struct

FIRST_ID = 1879048192
SHARED_GID = FIRST_ID
"""The group of every box: what boxes share is readable for it, and for nobody else."""
IDS = 2**28 - 1
INSIDE_ID = 0
"""The user and group a jailed process sees itself as. They mean nothing: no capability comes with them, and the kernel
goes by the ones outside. But files of the person who runs the box are then root's in the box, as people expect."""

SLOT_OFFSET = 120
"""Right after the gate's headers."""
_SLOT = struct.Struct("<QQ16s16s16x")
SLOT_BYTES = _SLOT.size
UID_AT, GID_AT, UID_MAP_AT, GID_MAP_AT = 0, 8, 16, 32
MAP_BYTES = 16


def pack_slot(uid: int, gid: int) -> bytes:
    """The slot's content: both numbers, and both as a line of uid_map (user_namespaces(7))."""
    return _SLOT.pack(uid, gid, _map(uid), _map(gid))


def with_identity(gate: bytes, uid: int, gid: int) -> bytes:
    """The same gate for another user."""
    return gate[:SLOT_OFFSET] + pack_slot(uid, gid) + gate[SLOT_OFFSET + SLOT_BYTES :]


def gives_ids() -> bool:
    """May this process make others of any user? Root may, but not the root of a user namespace that maps a few numbers
    only (user_namespaces(7)): to the host that is an ordinary user."""
    if os.geteuid() != 0:
        return False
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() == ["0", "0", str(2**32 - 1)]
    except OSError:
        return True


def claim_id() -> tuple[int, socket.socket]:
    """A number that nobody has, and what keeps it from others until it is closed or our process ends: an abstract socket
    stands for it, of which the whole host has one only (unix(7)). Raises OSError."""
    held = socket.socket(socket.AF_UNIX)
    while True:
        own = FIRST_ID + 1 + int.from_bytes(os.urandom(8), "big") % IDS
        try:
            held.bind(f"\0boxlite/uid/{own}")
            return own, held
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                held.close()
                raise


def _map(number: int) -> bytes:
    return b"%d %10d  1\n" % (INSIDE_ID, number)
