"""The jail of the programs that make disks: mke2fs, debugfs and qemu-img read what strangers wrote into images."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine import host
from engine.errors import JailError
from engine.jailer.grants import Grant, Identity, Jail, Limits, read, write
from engine.jailer.identity import gives_ids
from engine.jailer.ownership import Claim, hand_over_directory, take_back_directory
from engine.jailer.programs import program_grants
from engine.jailer.room import jailed
from engine.jailer.syscalls import disk_tool_profile
from engine.process import Command, get_program

READS_OF_OTHERS = "CAP_DAC_READ_SEARCH"
THREADS = 64
MEMORY_BYTES = 4 << 30
"""What a program may map: mke2fs keeps the tables of a file system of 2 TiB in some 200 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolJail:
    """Wraps a disk program so that it sees itself, what it reads and what it writes, and nothing else: no network, no other
    process, no capability. Where root starts it, it is a user of its own, whom the directories it writes are given to for as
    long; but to copy a directory (`reads`), whose files belong to anybody, it stays root, and may read what others own."""

    home: Path

    @contextlib.asynccontextmanager
    async def __call__(
        self, command: Command, writes: Sequence[Path], reads: Sequence[Path] = ()
    ) -> AsyncIterator[Command]:
        """The command to run within the block. Raises JailError."""
        binary = get_program(command.argv[0])
        command = replace(command, argv=(binary, *command.argv[1:]))
        if not gives_ids():
            async with jailed(command, tool_jail(binary, writes, reads), home=self.home) as wrapped:
                yield wrapped
        elif reads:
            jail = tool_jail(binary, writes, reads, capabilities=(READS_OF_OTHERS,))
            async with jailed(command, jail, home=self.home) as wrapped:
                yield wrapped
        else:
            with _given(writes) as identity:
                jail = tool_jail(binary, writes, identity=identity)
                async with jailed(command, jail, home=self.home) as wrapped:
                    yield wrapped


@contextlib.contextmanager
def _given(directories: Sequence[Path]) -> Iterator[Identity]:
    """A user that has these directories, with the files in them, within the block."""
    with _refused():
        claim = Claim.of()
    try:
        with _refused():
            for directory in directories:
                hand_over_directory(directory, claim.identity)
        yield claim.identity
        with _refused():
            for directory in directories:
                take_back_directory(directory)
    finally:
        claim.close()


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JailError(
            f"a disk's files could not be handed over: {error.filename or ''} {error.strerror}",
            hint="the home directory has to be on a file system that root may change owners on; BOXLITE_HOME moves it",
        ) from error


def tool_jail(
    binary: str,
    writes: Sequence[Path],
    reads: Sequence[Path] = (),
    *,
    identity: Identity | None = None,
    capabilities: tuple[str, ...] = (),
) -> Jail:
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
    return Jail(
        grants=tuple(grants),
        syscalls=disk_tool_profile(),
        identity=identity,
        capabilities=capabilities,
        limits=Limits(processes=THREADS if identity is not None else None, memory_bytes=MEMORY_BYTES),
    )
