"""Control groups around a machine's processes: memory, processes, processor time, a smaller share of the disk.

Resource limits hold from a process's first instruction; what they cannot say (memory really used, processor time per second) is
added here a moment after the start, where the host lets us: through systemd where it runs (org.freedesktop.systemd1(5),
StartTransientUnit; systemd.resource-control(5)), else directly as root, on version 2 or 1 (cgroups(7)). Best effort: nothing
fails for want of it, and what came of it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from engine import host
from engine.errors import BoxliteError
from engine.process import Command, find_program, run
from engine.values import dataclass

ROOT = Path("/sys/fs/cgroup")
PARENT = "boxlite"
PERIOD_US = 100_000
SPARE_MEMORY_BYTES = 1 << 30
"""For QEMU itself, translated code and cached parts of disks, on top of the machine's memory."""
REMOVE_TRIES, REMOVE_INTERVAL_S = 9, 0.001
"""The interval doubles: half a second in all."""
ABANDONED_S = 30.0
IO_WEIGHT = 50
"""Half of what others have (100) when they compete for a disk."""
_SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """`cpus`: processors' worth of time."""

    memory_bytes: int
    processes: int
    cpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group that was made. `kind` is `systemd`, `v2`, `v1`, or `none`, with the reason; `paths` are to be removed by us."""

    kind: str
    reason: str = ""
    paths: tuple[Path, ...] = ()

    async def remove(self) -> None:
        """Remove what was made. The machine's last process may need a moment to be gone; what is still there then goes when
        the next group is made."""
        for number in range(REMOVE_TRIES):
            for path in self.paths:
                _undone(path)
            if not any(path.exists() for path in self.paths):
                return
            await asyncio.sleep(REMOVE_INTERVAL_S * 2**number)


def limits_of_machine(*, memory_mib: int, cpus: int, processes: int | None) -> GroupLimits:
    """What a machine of that shape can need: a processor more than it has, for its disk and network."""
    return GroupLimits(
        memory_bytes=(memory_mib << 20) + SPARE_MEMORY_BYTES, processes=processes or 1024, cpus=cpus + 1
    )


async def confine(name: str, pids: Sequence[int], limits: GroupLimits) -> Group:
    """Put processes into a group of their own, as far as it goes here. Never raises for want of rights."""
    if host.operating_system() != "linux":
        return Group(kind="none", reason="there are no control groups on this system")
    if _SYSTEMD_RUNS.exists() and find_program("busctl"):
        return await _scope(name, pids, limits)
    if os.geteuid() != 0:
        return Group(kind="none", reason="systemd does not run, and only root may make groups without it")
    return await asyncio.to_thread(make_group, name, pids, limits, ROOT)


def build_scope_argv(name: str, pids: Sequence[int], limits: GroupLimits, *, user: bool) -> tuple[str, ...]:
    """The call that makes systemd put running processes into a scope with limits. Pure."""
    properties = (
        ("PIDs", "au", str(len(pids)), *map(str, pids)),
        ("MemoryMax", "t", str(limits.memory_bytes)),
        ("TasksMax", "t", str(limits.processes)),
        ("CPUQuotaPerSecUSec", "t", str(int(limits.cpus * 1_000_000))),
        ("IOWeight", "t", str(IO_WEIGHT)),
    )
    return (
        "busctl", "--user" if user else "--system", "--quiet", "call", "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))",
        f"boxlite-{name}.scope", "fail", str(len(properties)), *(word for entry in properties for word in entry), "0",
    )  # fmt: skip


async def _scope(name: str, pids: Sequence[int], limits: GroupLimits) -> Group:
    uid = os.geteuid()
    command = Command(
        argv=build_scope_argv(name, pids, limits, user=uid != 0), env={"XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    )
    try:
        await run(command, timeout_s=10.0)
    except BoxliteError as error:
        return Group(kind="none", reason=f"systemd made no scope: {error.message}")
    return Group(kind="systemd")


def make_group(name: str, pids: Sequence[int], limits: GroupLimits, root: Path) -> Group:
    """Make the group below `root` by hand: one of version 2, or one per controller of version 1."""
    unified = (root / "cgroup.controllers").exists()
    made = _make_unified(name, pids, limits, root) if unified else _make_legacy(name, pids, limits, root)
    if not made:
        return Group(kind="none", reason="no controller could be used")
    return Group(kind="v2" if unified else "v1", paths=tuple(made))


def _make_unified(name: str, pids: Sequence[int], limits: GroupLimits, root: Path) -> list[Path]:
    parent = root / PARENT
    path = parent / name
    values = {
        "memory.max": str(limits.memory_bytes),
        "pids.max": str(limits.processes),
        "cpu.max": f"{int(limits.cpus * PERIOD_US)} {PERIOD_US}",
        "io.weight": str(IO_WEIGHT),
    }
    _sweep(parent)
    try:
        parent.mkdir(exist_ok=True)
        for directory in (root, parent):
            for controller in ("memory", "pids", "cpu", "io"):
                _write(directory / "cgroup.subtree_control", f"+{controller}")
        path.mkdir()
    except OSError:
        return []
    limited = [_write(path / file, value) for file, value in values.items()]
    if any(limited) and all(_write(path / "cgroup.procs", str(pid)) for pid in pids):
        return [path]
    _undone(path)
    return _undone(parent)  # which stays where others are in it


def _make_legacy(name: str, pids: Sequence[int], limits: GroupLimits, root: Path) -> list[Path]:
    made = []
    for controller, values in (
        ("memory", {"memory.limit_in_bytes": limits.memory_bytes}),
        ("pids", {"pids.max": limits.processes}),
        ("cpu", {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": int(limits.cpus * PERIOD_US)}),
        ("blkio", {"blkio.bfq.weight": IO_WEIGHT}),
    ):
        path = root / controller / PARENT / name
        if not (root / controller / "cgroup.procs").exists():
            continue
        _sweep(path.parent)
        try:
            path.mkdir(parents=True)
        except OSError:
            continue
        limited = [_write(path / file, str(value)) for file, value in values.items()]
        if any(limited) and all(_write(path / "cgroup.procs", str(pid)) for pid in pids):
            made.append(path)
        else:
            _undone(path)
    return made


def _sweep(parent: Path) -> None:
    """Remove empty groups that killed shims left: one with processes cannot be removed, one that is being filled is new."""
    now = time.time()
    with contextlib.suppress(OSError):
        for path in parent.iterdir():
            if path.is_dir() and now - path.stat().st_mtime > ABANDONED_S:
                _undone(path)


def _undone(path: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        path.rmdir()
    return []


def _write(path: Path, value: str) -> bool:
    try:
        path.write_text(value)
    except OSError:
        return False
    return True


def find_descendants(pid: int) -> list[int]:
    """A process and those it started, from /proc/PID/task/PID/children."""
    found = [pid]
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for child in children:
        found += find_descendants(int(child))
    return found
