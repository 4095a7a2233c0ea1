"""Who holds a port of the host: read from /proc, for the error that says so (proc_pid_net(5), proc_pid_fd(5))."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from engine.model import PortSpec

_LISTEN = "0A"
_UNCONNECTED = "07"


def holder_of(port: PortSpec) -> str:
    """`NAME (pid N)` of a process that holds the port, as far as this user may see it; else an empty string."""
    inodes = set(_inodes(port))
    if not inodes:
        return ""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for fd in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    link = str(fd.readlink())
                    if link.startswith("socket:[") and link[8:-1] in inodes:
                        return f"{_name(process)} (pid {process.name})"
    return ""


def _name(process: Path) -> str:
    """The command's name; of a Python program the module or script it runs, of a box's network process its box."""
    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    comm = (process / "comm").read_text().strip()
    return f"python -m {words[2]}" if len(words) > 2 and words[1] == "-m" else comm


def _inodes(port: PortSpec) -> Iterator[str]:
    state = _LISTEN if port.protocol == "tcp" else _UNCONNECTED
    for suffix in ("", "6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{port.protocol}{suffix}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state and int(fields[1].rpartition(":")[2], 16) == port.host_port:
                    yield fields[9]
