"""A process as /proc has it (proc(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NO_CAPABILITY = "0000000000000000"


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc has it."""

    pid: int

    def read(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text()

    @property
    def status(self) -> dict[str, str]:
        return dict(re.findall(r"^(\w+):\s*(.*)$", self.read("status"), re.MULTILINE))

    def namespace(self, kind: str) -> str:
        return os.readlink(f"/proc/{self.pid}/ns/{kind}")

    @property
    def children(self) -> list[int]:
        return [int(word) for word in self.read(f"task/{self.pid}/children").split()]

    @property
    def descriptors(self) -> list[str]:
        return [os.readlink(entry.path) for entry in os.scandir(f"/proc/{self.pid}/fd")]

    @property
    def limits(self) -> dict[str, str]:
        """The hard limits."""
        return {
            name.strip(): hard
            for name, hard in re.findall(
                r"^(Max [a-z ]+?)\s{2,}\S+\s+(\S+)", self.read("limits"), re.MULTILINE
            )
        }

    @property
    def mounts(self) -> dict[str, str]:
        """Options by place."""
        fields = (line.split() for line in self.read("mountinfo").splitlines())
        return {field[4]: field[5] for field in fields}

    @property
    def program(self) -> str:
        """The name of what it runs, whatever it calls itself."""
        return Path(self.read("cmdline").split("\0")[0]).name

    @property
    def capabilities(self) -> dict[str, str]:
        status = self.status
        return {name: status[name] for name in CAPABILITY_SETS}

    @property
    def seccomp(self) -> tuple[str, str]:
        """Mode (2: filters) and number of filters."""
        status = self.status
        return status["Seccomp"], status["Seccomp_filters"]

    @property
    def shared_namespaces(self) -> set[str]:
        """The kinds it has in common with this process."""
        return {kind for kind in NAMESPACES if self.namespace(kind) == os.readlink(f"/proc/self/ns/{kind}")}

    @property
    def writable_mounts(self) -> set[str]:
        return {
            place
            for place, options in self.mounts.items()
            if "rw" in options.split(",") and not place.startswith(("/proc", "/dev/"))
        }


def descendants(process: Process) -> Iterator[Process]:
    for pid in process.children:
        yield Process(pid)
        yield from descendants(Process(pid))
