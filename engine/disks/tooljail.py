"""The jail of the programs that make disks: mke2fs, debugfs and qemu-img read what strangers wrote into images."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine import host
from engine.jailer.grants import Grant, Jail, read, write
from engine.jailer.programs import program_grants
from engine.jailer.room import jailed
from engine.jailer.syscalls import disk_tool_profile
from engine.process import Command, get_program


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolJail:
    """Wraps a disk program so that it sees itself, what it reads and what it writes, and nothing else: no network, no other
    process, no capability."""

    home: Path

    @contextlib.asynccontextmanager
    async def __call__(
        self, command: Command, writes: Sequence[Path], reads: Sequence[Path] = ()
    ) -> AsyncIterator[Command]:
        """The command to run within the block. Raises JailError."""
        binary = get_program(command.argv[0])
        jail = tool_jail(binary, writes, reads)
        async with jailed(
            replace(command, argv=(binary, *command.argv[1:])), jail, home=self.home
        ) as wrapped:
            yield wrapped


def tool_jail(binary: str, writes: Sequence[Path], reads: Sequence[Path]) -> Jail:
    """The jail of one run. mke2fs loads libarchive when it first needs it, so that its libraries' directory is shown whole."""
    grants: list[Grant] = [grant for grant in program_grants(binary) if grant.executes]
    taken = {grant.path for grant in grants}
    libraries = [path for path in host.libraries_of(binary) if path not in taken]
    grants += [
        read(directory)
        for directory in dict.fromkeys(str(Path(path).parent) for path in libraries if ".so." in path)
        if directory != "/etc"
    ]
    grants.append(read("/etc/ld.so.cache", optional=True))
    grants += [read(str(path)) for path in reads]
    grants += [write(str(path)) for path in writes]
    return Jail(grants=tuple(grants), syscalls=disk_tool_profile())
