"""Measure the host memory of idle boxes: Pss of every process of them, and how it grows with their number.

Pss shares out a page among all who map it, so the sum over processes is what they really take. Pages of the template
and of QEMU's program are the same for every box: the first pays for them, each further one adds only its own.
See README.md for how to read the report.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fixtures import make_rootfs
from run import find_boxlite, link_guest, run_command

IMAGE = "localhost/bench:latest"
IDLE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
LIMIT_MIB = 120
SETTLE_S = 5
ROLES = {"qemu-system": "QEMU", "bwrap": "jail", "passt": "network"}
COLUMNS = ("QEMU", "jail", "shim", "network")


@dataclass(frozen=True, slots=True)
class Usage:
    """KiB: what is shared out (Pss), and the part of it that nobody shares."""

    pss: int
    private: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """From /proc/PID/smaps_rollup (proc(5)); of a process that is gone nothing."""
        fields = {"Pss:": 0, "Private_Clean:": 0, "Private_Dirty:": 0}
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, *rest = line.split()
                if name in fields:
                    fields[name] = int(rest[0])
        return cls(fields["Pss:"], fields["Private_Clean:"] + fields["Private_Dirty:"])


def children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                parent = int(stat[stat.rindex(")") + 2 :].split()[1])
                found.setdefault(parent, []).append(int(entry.name))
    return found


def tree(pid: int, below: dict[int, list[int]]) -> list[int]:
    return [pid, *(one for child in below.get(pid, ()) for one in tree(child, below))]


def role(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        program = Path(words[0]).name
        return next((name for prefix, name in ROLES.items() if program.startswith(prefix)), "shim")
    return "shim"


def usage_of_boxes(shims: list[int]) -> dict[str, list[Usage]]:
    """Of every process of these shims, by role."""
    below = children()
    found: dict[str, list[Usage]] = {name: [] for name in COLUMNS}
    for shim in shims:
        for pid in tree(shim, below):
            found[role(pid)].append(Usage.of(pid))
    return found


def report(count: int, found: dict[str, list[Usage]]) -> float:
    """Print one line and return MiB of Pss a box."""

    def mib(values: Iterator[int]) -> float:
        return sum(values) / 1024 / count

    parts = [mib(usage.pss for usage in found[name]) for name in COLUMNS]
    private = mib(usage.private for usages in found.values() for usage in usages)
    total = sum(parts)
    verdict = "kept" if total <= LIMIT_MIB else "MISSED"
    print(
        f"{count:5} {total:9.1f} {private:9.1f} "
        + " ".join(f"{part:9.1f}" for part in parts)
        + f"   {verdict}"
    )
    return total


class Boxes:
    """Idle boxes of one home."""

    def __init__(self, boxlite: tuple[str, ...], home: Path, memory: str) -> None:
        self._boxlite = (*boxlite, "--home", str(home))
        self._memory = memory
        self.names: list[str] = []

    def add(self, count: int) -> None:
        while len(self.names) < count:
            name = f"bench-{len(self.names)}"
            run_command((*self._boxlite, "run", "-d", "--name", name, "-m", self._memory, IMAGE, *IDLE))
            self.names.append(name)

    def answering(self) -> int:
        """How many of them answer an exec."""
        done = (
            subprocess.run((*self._boxlite, "exec", name, "true"), stdin=subprocess.DEVNULL)
            for name in self.names
        )
        return sum(one.returncode == 0 for one in done)

    @property
    def shims(self) -> list[int]:
        done = subprocess.run(
            (*self._boxlite, "inspect", *self.names),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        return [row["State"]["Pid"] for row in json.loads(done.stdout)]

    def import_image(self, rootfs: Path) -> None:
        run_command((*self._boxlite, "import", "-q", str(rootfs), IMAGE))

    def remove(self) -> None:
        if self.names:
            subprocess.run((*self._boxlite, "rm", "-f", *self.names), capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "counts", nargs="*", type=int, default=[1, 10, 30], help="how many boxes (default 1 10 30)"
    )
    parser.add_argument("--memory", default="512m", help="memory of each box (default 512m)")
    parser.add_argument("--rootfs", help="root file system of the image, tar or tar.gz (default: busybox)")
    parser.add_argument(
        "--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"), help="home whose guest image is used"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boxlite-bench-") as directory:
        home = Path(directory) / "home"
        link_guest(Path(options.home).expanduser() / "guest", home)
        boxes = Boxes(find_boxlite(), home, options.memory)
        rootfs = Path(options.rootfs) if options.rootfs else make_rootfs(Path(directory) / "rootfs.tar")
        boxes.import_image(rootfs)
        print(f"MiB a box, {options.memory} each, limit {LIMIT_MIB}")
        print(f"{'boxes':>5} {'Pss':>9} {'its own':>9} " + " ".join(f"{name:>9}" for name in COLUMNS))
        kept = True
        try:
            for count in sorted(options.counts):
                boxes.add(count)
                time.sleep(SETTLE_S)
                kept = report(count, usage_of_boxes(boxes.shims)) <= LIMIT_MIB and kept
            begun = time.monotonic()
            answering = boxes.answering()
            print(
                f"{answering} of {len(boxes.names)} answered an exec in {time.monotonic() - begun:.1f} s, one by one"
            )
        finally:
            boxes.remove()
    return 0 if kept and answering == len(boxes.names) else 1


if __name__ == "__main__":
    sys.exit(main())
