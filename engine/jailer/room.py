"""A jail around one start: files are handed over, the gate is made and handed over as a descriptor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from engine.errors import JailError
from engine.host import machine_arch, operating_system
from engine.jailer.bubblewrap import wrap
from engine.jailer.closing import closing_steps
from engine.jailer.gate import build_gate
from engine.jailer.grants import Jail
from engine.jailer.landlock import landlock_abi
from engine.jailer.ownership import hand_over
from engine.jailer.seccomp import load_filter
from engine.layout import Layout
from engine.process import Command, get_program


@contextlib.asynccontextmanager
async def jailed(
    command: Command, jail: Jail, *, home: Path, place: Path | None = None
) -> AsyncIterator[Command]:
    """The command to start instead of `command`, within the block. `home` is where the filters are kept; `place` a
    directory, not there yet, for mounts that only the jail sees: jails with foreign grants need one.

    Blocks for a millisecond or two. Raises JailError when the jail cannot be built as it was asked for: nothing weaker is
    taken silently.
    """
    if operating_system() == "darwin":
        from engine.jailer.seatbelt import wrap as wrap_seatbelt

        yield wrap_seatbelt(command, jail)
    elif not jail.enabled:
        yield wrap(command, jail)
    elif jail.identity is not None and place is not None and any(grant.foreign for grant in jail.grants):
        from engine.jailer.idmap import shown_as_own

        async with shown_as_own(jail, place) as shown:
            with _closed(command, shown, Layout(home).jail_dir) as wrapped:
                yield wrapped
    else:
        with _closed(command, jail, Layout(home).jail_dir) as wrapped:
            yield wrapped


@contextlib.contextmanager
def _closed(command: Command, jail: Jail, cache_dir: Path) -> Iterator[Command]:
    hand_over_files(jail)
    content = make_gate(get_program(command.argv[0]), jail, cache_dir)
    fd = os.memfd_create("gate")
    try:
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        handed = (fd,) if jail.mount_namespace is None else (fd, jail.mount_namespace)
        yield replace(wrap(command, jail, gate=fd), pass_fds=(*command.pass_fds, *handed))
    finally:
        os.close(fd)


def hand_over_files(jail: Jail) -> None:
    """Give the jail's user what it needs. Raises JailError."""
    with _refused():
        hand_over(jail)


def make_gate(program: str, jail: Jail, cache_dir: Path) -> bytes:
    """The gate of a jail for a program. `cache_dir` keeps what is costly to make. Raises JailError."""
    filtered = None if jail.syscalls is None else load_filter(jail.syscalls, cache_dir)
    arch, who = machine_arch(), jail.identity
    with _refused():
        landlock = landlock_abi(cache_dir) if jail.landlock else 0
        try:
            steps = closing_steps(jail, arch=arch, landlock=landlock, program=filtered)
            return build_gate(
                program, steps, arch=arch, identity=(0, 0) if who is None else (who.uid, who.gid)
            )
        except KeyError as error:
            raise JailError(
                f"no jail can be built on a processor of the kind {arch}",
                hint="boxes run on x86_64 and aarch64",
            ) from error


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JailError(
            f"the jail cannot be built: {error.filename or ''} {error.strerror}",
            hint="`boxlite system doctor` says what this host lacks; `--security disabled` gives up the jail by name",
        ) from error
