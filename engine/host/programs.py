"""Programs of the host: where QEMU is, and what version a program has."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import UnsupportedEngineError
from engine.host.facts import machine_arch
from engine.process import Command, find_program, run

VERSION_PATTERN = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
QEMU_BANNER = b"QEMU emulator version "
VERSION_FLAGS = {"mke2fs": "-V"}


def qemu_name() -> str:
    return f"qemu-system-{machine_arch()}"


def find_qemu() -> str | None:
    return find_program(qemu_name())


def qemu_binary() -> str:
    """The absolute path of QEMU for this processor. Raises UnsupportedEngineError where there is none."""
    path = find_qemu()
    if path is None:
        raise UnsupportedEngineError(
            f"the program {qemu_name()} is not installed",
            hint="`boxlite system doctor` names the package that has it",
        )
    return path


def qemu_version() -> str:
    """The version QEMU prints, distribution's part included: `10.0.2 (Debian 1:10.0.2+ds-2)`.

    Read from the program file, which holds its own banner as one literal: five times quicker than running it, and
    every start of a box asks. Blocks for a few milliseconds. Raises UnsupportedEngineError without QEMU.
    """
    import mmap

    path = Path(qemu_binary()).resolve()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
        start = image.find(QEMU_BANNER)
        if start >= 0:
            start += len(QEMU_BANNER)
            return image[start : image.find(b"\n", start)].decode("utf-8", "replace").strip()
    status = path.stat()
    return f"unknown ({status.st_size} bytes of {status.st_mtime_ns})"


def parse_version(text: str) -> tuple[int, ...] | None:
    """The first version number in `text`: `mke2fs 1.47.2 (1-Jan-2025)` → (1, 47, 2); None if there is none."""
    match = VERSION_PATTERN.search(text)
    return tuple(int(part) for part in match.groups(default="0")) if match else None


async def program_version(name: str) -> tuple[int, ...] | None:
    """The version an installed program says it has; None when it says none."""
    flag = VERSION_FLAGS.get(name, "--version")
    completed = await run(Command(argv=(name, flag)), timeout_s=10, check=False)
    said = (completed.stdout or completed.stderr).decode("utf-8", "replace")
    return parse_version(said.partition("\n")[0])
