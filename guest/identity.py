"""What makes a restored machine one of its own: clock, entropy and names.

A machine restored from a template shares its whole past with every other one; until this has run nothing random or
unique may be handed out.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import struct
import time
from collections.abc import Sequence

_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207

_LOOPBACK_HOSTS = (
    ("127.0.0.1", ("localhost",)),
    ("::1", ("localhost", "ip6-localhost", "ip6-loopback")),
    ("fe00::", ("ip6-localnet",)),
    ("ff00::", ("ip6-mcastprefix",)),
    ("ff02::1", ("ip6-allnodes",)),
    ("ff02::2", ("ip6-allrouters",)),
)


def set_clock(realtime_ns: int) -> None:
    time.clock_settime_ns(time.CLOCK_REALTIME, realtime_ns)


def renew_entropy(seed: bytes) -> None:
    """Mix bytes from the host into the kernel's generator, make it use them now, and reseed this process's own."""
    fd = os.open("/dev/urandom", os.O_WRONLY)
    try:
        pool = struct.pack("ii", len(seed) * 8, len(seed)) + seed
        fcntl.ioctl(fd, _RNDADDENTROPY, pool)
        fcntl.ioctl(fd, _RNDRESEEDCRNG)
    finally:
        os.close(fd)
    # An integer: seeding with bytes hashes them first, with code that nothing else here needs.
    random.seed(int.from_bytes(os.urandom(32)))


def set_hostname(name: str) -> None:
    socket.sethostname(name)


def hosts_file(entries: Sequence[tuple[str, Sequence[str]]]) -> str:
    """/etc/hosts: the loopback's names, then `entries` (address, names)."""
    lines = (*_LOOPBACK_HOSTS, *entries)
    return "".join(f"{address}\t{' '.join(names)}\n" for address, names in lines)


def resolv_file(servers: Sequence[str], search: Sequence[str]) -> str:
    """/etc/resolv.conf (resolv.conf(5))."""
    lines = [f"search {' '.join(search)}\n"] if search else []
    return "".join([*lines, *(f"nameserver {server}\n" for server in servers)])
