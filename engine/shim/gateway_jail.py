"""What the gateway of a restricted box may see: a Python, this program, the host's certificates and name servers. It writes
to its box's logs, uses the host's network, and has no capability: published ports are bound before it starts."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.jailer.grants import Access, Grant, Jail, Limits, read, write
from engine.jailer.syscalls import gateway_profile
from engine.layout import BoxLayout

PROGRAMS = ("/usr", "/lib", "/lib64")
SYSTEM = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/ld.so.cache")
MEMORY_BYTES = 4 << 30
"""What a gateway may map: its libraries, its threads' stacks, what waits in its connections."""
RESOLV_CONF = "/etc/resolv.conf"
SOURCE_ROOT = Path(__file__).parents[2]


def gateway_jail(box: BoxLayout, *, enabled: bool, ca_file: str | None) -> Jail:
    """`ca_file` has certificate authorities that this host trusts besides its own; None: none."""
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
        grants=(*grants, write(str(box.logs_dir))),
        network=True,
        enabled=enabled,
        listens=(),
        syscalls=gateway_profile(),
        limits=Limits(memory_bytes=MEMORY_BYTES),
    )
