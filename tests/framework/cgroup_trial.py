"""A program for a machine whose kernel has control groups of version 2: engine.jailer.cgroups limits real processes there.

Started as root with a hierarchy of its own mounted at the first argument; prints what came of each limit as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from engine.jailer.cgroups import Group, GroupLimits, make_group

GO = "import sys; sys.stdin.readline()\n"
"""Each process waits until it is in its group."""
HOG = GO + "held = bytearray(256 << 20)\nheld[::4096] = b'x' * len(held[::4096])"
FORKS = (
    GO
    + """
import os, time
made = 0
try:
    while made < 64:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except OSError:
    pass
print(made, flush=True)
os.killpg(0, 9)
"""
)
SPIN = GO + "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"


def leave(root: Path) -> None:
    """What a delegated group needs: no process of its own (cgroups(7), no internal processes)."""
    aside = root / "aside"
    aside.mkdir()
    for pid in (root / "cgroup.procs").read_text().split():
        (aside / "cgroup.procs").write_text(pid)


def grouped(root: Path, name: str, code: str, limits: GroupLimits) -> tuple[Group, int, str]:
    process = subprocess.Popen(
        (sys.executable, "-c", code),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    group = make_group(name, [process.pid], limits, root)
    out, _ = process.communicate("go\n")
    return group, process.returncode, out


def field(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name} "))


def main() -> None:
    root = Path(sys.argv[1])
    leave(root)
    roomy = GroupLimits(memory_bytes=1 << 30, processes=1000, cpus=4)
    told: dict[str, object] = {}
    group, status, _ = grouped(root, "hog", HOG, GroupLimits(memory_bytes=64 << 20, processes=100, cpus=4))
    told["memory"] = [group.kind, status, field(group.paths[0] / "memory.events", "oom_kill") > 0]
    asyncio.run(group.remove())
    group, _, out = grouped(root, "forks", FORKS, GroupLimits(memory_bytes=1 << 30, processes=8, cpus=4))
    told["processes"] = [group.kind, int(out)]
    time.sleep(0.5)
    asyncio.run(group.remove())
    group, _, _ = grouped(root, "spin", SPIN, GroupLimits(memory_bytes=1 << 30, processes=100, cpus=0.25))
    told["cpu"] = [group.kind, field(group.paths[0] / "cpu.stat", "nr_throttled") > 0]
    used_s = field(group.paths[0] / "cpu.stat", "usage_usec") / 1e6
    told["cpu seconds"] = used_s
    asyncio.run(group.remove())
    group, _, _ = grouped(root, "free", SPIN, roomy)
    told["free"] = [group.kind, field(group.paths[0] / "cpu.stat", "nr_throttled")]
    weight = group.paths[0] / "io.weight"
    told["io"] = weight.read_text().split()[-1] if weight.exists() else None
    asyncio.run(group.remove())
    told["left"] = sorted(path.name for path in (root / "boxlite").iterdir() if path.is_dir())
    print(json.dumps(told))


if __name__ == "__main__":
    main()
