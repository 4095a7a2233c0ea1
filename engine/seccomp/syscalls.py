"""System call numbers by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

ARCHES = ("x86_64", "x86", "aarch64", "arm")
AUDIT_ARCH = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
"""What the kernel calls them in a filter's data (linux/audit.h)."""
COMPAT = {"x86_64": "x86", "aarch64": "arm"}
"""Whose programs a processor runs besides its own."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of one call, by processor; those where it does not exist are missing."""

    by_arch: dict[str, int]


@cache
def load_syscalls() -> dict[str, Numbers]:
    """All calls of the table, by name."""
    table = {}
    for line in Path(__file__).with_name("syscalls.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, *words = line.split()
        table[name] = Numbers(
            {arch: int(word) for arch, word in zip(ARCHES, words, strict=True) if word != "-"}
        )
    return table
