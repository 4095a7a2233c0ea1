"""What processes cost: processor time and memory of a process and its descendants (Linux, proc(5))."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_PSS_FIELD = b"Pss:"


def process_tree(pid: int) -> list[int]:
    """A process and all its descendants; empty where the system has no /proc or the process is gone."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        try:
            tasks = sorted((_PROC / str(current) / "task").iterdir())
        except OSError:
            continue
        found.append(current)
        for task in tasks:
            try:
                waiting += map(int, (task / "children").read_text().split())
            except OSError:
                continue
    return found


def cpu_time_us(pids: list[int]) -> int | None:
    """Processor time used by living processes, in user mode and in the kernel; None when none can be read."""
    ticks = [ticks for pid in pids if (ticks := _ticks(pid)) is not None]
    return sum(ticks) * 1_000_000 // os.sysconf("SC_CLK_TCK") if ticks else None


def _ticks(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return int(fields[11]) + int(fields[12])


def memory_bytes(pids: list[int]) -> int | None:
    """Memory of processes, with shared pages counted in proportion where the kernel tells, whole where it does not."""
    sizes = [size for pid in pids if (size := _memory(pid)) is not None]
    return sum(sizes) if sizes else None


def _memory(pid: int) -> int | None:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(_PSS_FIELD):
                return int(line.split()[1]) * 1024
    except OSError:  # another user's process: its own parent may not look into it
        pass
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
