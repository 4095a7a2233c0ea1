"""The machine's cgroups (cgroup v2).

    /agent         the agent; a share of the memory is kept for it
    /box           the box's limits; no process
    /box/main      the container's main command and what it starts
    /box/exec-ID   one execution each, so that all its descendants can be counted and killed

Groups share the processor before their processes do. So an execution gets its part of it however many processes the main
command has, a fork bomb's too, and a few processes are kept for executions.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
AGENT_RESERVE_BYTES = 48 << 20
HEADROOM_BYTES = 16 << 20
"""What is kept from the box for memory the kernel needs on its behalf and does not charge to it."""
_MOST_CPU_WEIGHT = 10000
_MAIN_CPU_WEIGHT = 400
"""Four times an execution's: what a service's few threads would have beside one if each had the same."""
EXECUTIONS_PIDS = 64
"""Processes that the main command cannot take, where nobody has said how many the box may have."""
_MAIN = "main"
_GROUPS_KEPT = 16
_EVENTS_BYTES = 1024
_CONTROLLERS = ("cpu", "io", "memory", "pids")


class Cgroup:
    """One group, by its path. Made by `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_killed = False
        self.directory_fd: int | None = None
        self._events_fd = -1

    def create(self) -> Cgroup:
        self.path.mkdir(exist_ok=True)
        return self

    def keep_open(self) -> Cgroup:
        """Keep the descriptors that each use of it would open: of its directory, and of the file that tells whether it is
        populated. `remove` closes them."""
        self.directory_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            self._events_fd = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory_fd)
        return self

    def child(self, name: str) -> Cgroup:
        return Cgroup(self.path / name)

    def set(self, knob: str, value: int | str) -> None:
        (self.path / knob).write_text(str(value))

    def kill(self) -> None:
        """SIGKILL every process in it and below, also those forking at this moment. Some kernels kill whatever is started
        into it from another group ever after (the sequence they compare is the other group's)."""
        self.was_killed = True
        with contextlib.suppress(FileNotFoundError):
            self.set("cgroup.kill", 1)

    def processes(self) -> list[int]:
        """Ids of the processes in it and below."""
        pids: list[int] = []
        for folder, _, _ in os.walk(self.path):
            with contextlib.suppress(OSError):
                pids += [int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()]
        return pids

    @property
    def populated(self) -> bool:
        if self._events_fd >= 0:
            return b"populated 1" in os.pread(self._events_fd, _EVENTS_BYTES, 0)
        return self.read_fields("cgroup.events").get("populated", 0) != 0

    def read_fields(self, knob: str) -> dict[str, int]:
        """A flat-keyed file (`name value` lines) as a dict; empty when it is not there."""
        try:
            lines = (self.path / knob).read_text().splitlines()
        except OSError:
            return {}
        return {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}

    def read_number(self, knob: str) -> int:
        """A file with one number; 0 for "max" and when it is not there."""
        try:
            text = (self.path / knob).read_text().strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() else 0

    def remove(self) -> None:
        for fd in (self.directory_fd, self._events_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.directory_fd, self._events_fd = None, -1
        with contextlib.suppress(OSError):
            self.path.rmdir()


class Counter:
    """One number of a flat-keyed file of a group, read often: the file stays open. 0 while it is not there."""

    def __init__(self, cgroup: Cgroup, knob: str, name: str) -> None:
        self._name = name.encode() + b" "
        try:
            self._fd = os.open(cgroup.path / knob, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._fd = -1

    def read(self) -> int:
        if self._fd < 0:
            return 0
        for line in os.pread(self._fd, _EVENTS_BYTES, 0).splitlines():
            if line.startswith(self._name):
                return int(line[len(self._name) :])
        return 0


class CgroupPool:
    """Groups of executions below one: a group whose processes have all gone by themselves serves the next execution. Making and removing
    one costs an emulated machine milliseconds."""

    def __init__(self, parent: Cgroup) -> None:
        self._parent = parent
        self._count = 0
        self._free: list[Cgroup] = []
        self._left: list[Cgroup] = []

    def take(self) -> Cgroup:
        """An empty group. Raises OSError."""
        if self._free:
            return self._free.pop()
        self._count += 1
        return self._parent.child(f"exec-{self._count}").create().keep_open()

    def give_back(self, cgroup: Cgroup) -> bool:
        """Nobody needs it any more; False when something still runs in it. It is then taken back some time later."""
        self._left.append(cgroup)
        still = [one for one in self._left if one.populated]
        for one in self._left:
            if one in still:
                continue
            if len(self._free) < _GROUPS_KEPT and not one.was_killed:
                self._free.append(one)
            else:
                one.remove()
        self._left = still
        return cgroup not in still


def main_group(box: Cgroup) -> Cgroup:
    """Where the main command lives."""
    return box.child(_MAIN)


def setup_cgroups(root: Path = CGROUP_ROOT) -> tuple[Cgroup, Cgroup]:
    """Make the agent's group and the box's, move this process into the first, and return (agent, box)."""
    agent, box = Cgroup(root / "agent").create(), Cgroup(root / "box").create()
    agent.set("cgroup.procs", 0)
    available = (root / "cgroup.controllers").read_text().split()
    enabled = " ".join(f"+{name}" for name in _CONTROLLERS if name in available)
    for group in (Cgroup(root), box):
        group.set("cgroup.subtree_control", enabled)
    main_group(box).create().set("cpu.weight", _MAIN_CPU_WEIGHT)
    agent.set("memory.min", AGENT_RESERVE_BYTES)
    agent.set("cpu.weight", _MOST_CPU_WEIGHT)
    limit_box(box)
    Path("/proc/self/oom_score_adj").write_text("-1000")
    return agent, box


def limit_box(box: Cgroup, *, memory_bytes: int = 0, pids: int = 0) -> None:
    """Set the box's limits; 0: as much as the machine has to give now, but for what agent and kernel still need.

    A box that takes all of its memory is then stopped by its own limit. Where it is the machine that runs out, the
    kernel finds nothing to kill but the agent, and panics.
    """
    memory = _memory_bytes()
    most = max(memory["MemAvailable"] - HEADROOM_BYTES, memory["MemTotal"] // 4)
    main = main_group(box)
    for group in (box, main):  # main's is what programs in the box read
        group.set("memory.max", min(memory_bytes, most) if memory_bytes else most)
    threads = int(Path("/proc/sys/kernel/threads-max").read_text())
    most_pids = max(64, threads - max(64, threads // 10))
    box.set("pids.max", min(pids, most_pids) if pids else most_pids)
    main.set("pids.max", min(pids, most_pids) if pids else max(32, most_pids - EXECUTIONS_PIDS))


def _memory_bytes() -> dict[str, int]:
    """The fields of /proc/meminfo in bytes (proc_meminfo(5))."""
    with Path("/proc/meminfo").open() as file:
        return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in file)}
