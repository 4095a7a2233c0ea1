"""Who the gateway of a restricted box is, and what it may see: a Python, this program, the host's certificates and name
servers. It writes its log, uses the host's network, and has no capability: published ports are bound before it starts."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from engine.jailer.grants import Access, Grant, Identity, Jail, Limits, read, write
from engine.jailer.identity import gives_ids
from engine.jailer.ownership import Claim
from engine.jailer.syscalls import gateway_profile
from engine.layout import BoxLayout

PROGRAMS = ("/usr", "/lib", "/lib64")
SYSTEM = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/ld.so.cache")
MEMORY_BYTES = 4 << 30
"""What a gateway may map: its libraries, its threads' stacks, what waits in its connections."""
RESOLV_CONF = "/etc/resolv.conf"
SOURCE_ROOT = Path(__file__).parents[2]


def gateway_jail(
    box: BoxLayout, *, enabled: bool, ca_file: str | None, identity: Identity | None = None
) -> Jail:
    """`ca_file` has certificate authorities that this host trusts besides its own; None: none. `identity`: who it becomes, see
    `claim_gateway_identity`."""
    own = {sys.prefix, sys.base_prefix, str(SOURCE_ROOT)}
    grants = [Grant(path=path, access=Access.READ, optional=True, executes=True) for path in PROGRAMS]
    grants += [read(path, optional=True) for path in SYSTEM]
    for path in sorted(own):
        if path != "/usr" and not path.startswith("/usr/"):
            grants.append(Grant(path=path, access=Access.READ, executes=path == sys.base_prefix))
    if Path(RESOLV_CONF).exists():  # often a link into /run
        grants.append(read(str(Path(RESOLV_CONF).resolve()), target=RESOLV_CONF))
    if ca_file is not None:
        grants.append(read(ca_file))
    return Jail(
        grants=(*grants, write(str(box.connections_dir))),
        network=True,
        identity=identity,
        enabled=enabled,
        listens=(),
        syscalls=gateway_profile(),
        limits=Limits(memory_bytes=MEMORY_BYTES),
    )


def claim_gateway_identity(*, enabled: bool, ca_file: str | None) -> Claim | None:
    """A user of its own where root starts the box, if that user can read this program and its Python; else the one who
    starts it (None)."""
    return Claim.of() if enabled and can_be_another_user(ca_file) else None


def can_be_another_user(ca_file: str | None = None) -> bool:
    """May it be made another user, and could that one read what it needs?"""
    if not gives_ids():
        return False
    roots = (sys.prefix, sys.base_prefix, str(SOURCE_ROOT))
    files = [os.path.realpath(sys.executable), os.__file__, __file__, stat.__file__]
    if ca_file is not None and not _is_open_to_all(Path(ca_file), Path(ca_file)):
        return False
    for root in map(Path, roots):
        inside = [Path(file) for file in files if Path(file).is_relative_to(root)]
        if not all(_is_open_to_all(file, root) for file in (root, *inside)):
            return False
    return True


def make_place_for_log(box: BoxLayout, identity: Identity | None) -> None:
    """The directory of the gateway's log, with what an earlier gateway left there. Raises OSError."""
    box.connections_dir.mkdir(mode=0o700, exist_ok=True)
    if identity is not None:
        for path in box.connections_dir.iterdir():
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


def _is_open_to_all(path: Path, root: Path) -> bool:
    """Can anybody read it who may enter `root`, whatever lies above that?"""
    while True:
        mode = path.stat().st_mode
        if not mode & stat.S_IROTH or (stat.S_ISDIR(mode) and not mode & stat.S_IXOTH):
            return False
        if path == root:
            return True
        path = path.parent
