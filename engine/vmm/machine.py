"""One QEMU process and the sockets that lead into it.

Every socket is made here and handed over as a descriptor, so the jail needs no writable directory for them:
the portal's are listening before QEMU exists, so a client may connect early and waits in the backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine import host
from engine.errors import EngineError
from engine.jailer.grants import Jail
from engine.jailer.ownership import Claim
from engine.jailer.room import jailed
from engine.model import SecurityOptions
from engine.process import Command, start
from engine.sockets import listen_unix
from engine.vmm.arguments import build_qemu_argv
from engine.vmm.confinement import claim_identity, machine_jail, make_mountpoints
from engine.vmm.spec import Descriptors, VmSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Our ends of a machine's sockets. The portal's listening ends belong to QEMU alone, so that they are refused
    as soon as it is dead."""

    qmp: socket.socket
    console: socket.socket
    events: socket.socket
    output: socket.socket

    def close(self) -> None:
        for end in (self.qmp, self.console, self.events, self.output):
            end.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A started machine, in `jail`. `pid` is the outermost process (the jail's, where there is one); `claim` keeps the user it became
    from others."""

    process: asyncio.subprocess.Process
    channels: Channels
    argv: tuple[str, ...]
    jail: Jail
    claim: Claim | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill_now(self) -> None:
        """Send SIGKILL; `kill` is still due."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    async def kill(self) -> None:
        """End it at once and reap it."""
        self.kill_now()
        await self.process.wait()
        self.channels.close()
        if self.claim is not None:
            self.claim.close()


async def start_machine(
    spec: VmSpec,
    *,
    portals: Sequence[Path],
    security: SecurityOptions,
    log_path: Path,
    home: Path,
    network: socket.socket | None = None,
) -> Machine:
    """Start QEMU for `spec`, jailed as `security` says. Returns once the process exists, not once it runs.

    `network` is the machine's end of the pair whose other end the network process has. QEMU's own messages go to
    `log_path`; `home` is the home directory. Raises EngineError when QEMU cannot be started, JailError when
    the jail cannot be built.
    """
    binary = host.qemu_binary()
    listeners = [listen_unix(path) for path in portals]
    pairs = [socket.socketpair() for _ in range(4)]
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    fds = Descriptors(
        qmp=theirs[0].fileno(),
        console=theirs[1].fileno(),
        events=theirs[2].fileno(),
        output=theirs[3].fileno(),
        portals=tuple(listener.fileno() for listener in listeners),
        network=None if network is None else network.fileno(),
    )
    command = Command(argv=build_qemu_argv(binary, spec, fds), pass_fds=fds.all)
    claim = claim_identity(security)
    try:
        make_mountpoints(spec)
        jail = machine_jail(spec, security, binary, identity=None if claim is None else claim.identity)
        async with jailed(command, jail, home=home, place=Path(f"{spec.share_path}.shown")) as command:
            process = await start(command, log_path=log_path)
    except BaseException as error:
        for end in ours:
            end.close()
        if claim is not None:
            claim.close()
        if isinstance(error, OSError):
            raise EngineError(f"{command.argv[0]} could not be started: {error.strerror}") from error
        raise
    finally:
        for end in (*theirs, *listeners, *([network] if network is not None else [])):
            end.close()
    for end in ours:
        end.setblocking(False)
    channels = Channels(qmp=ours[0], console=ours[1], events=ours[2], output=ours[3])
    return Machine(process=process, channels=channels, argv=command.argv, jail=jail, claim=claim)
