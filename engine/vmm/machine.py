"""One QEMU process and the sockets that lead into it.

Every socket is made here and handed over as a descriptor, so the jail needs no writable directory for them:
the portal's are listening before QEMU exists, so a client may connect early and waits in the backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

from engine import host
from engine.errors import EngineError
from engine.jailer.bubblewrap import wrap
from engine.jailer.grants import Jail
from engine.jailer.ownership import Claim
from engine.jailer.room import hand_over_files, make_gate
from engine.layout import Layout
from engine.model import SecurityOptions
from engine.process import Child, Command, start
from engine.sockets import listen_unix
from engine.values import dataclass
from engine.vmm.arguments import build_qemu_argv
from engine.vmm.confinement import claim_identity, machine_jail, make_mountpoints, share_inside
from engine.vmm.leftovers import kill_leftovers
from engine.vmm.restore import build_restore_script
from engine.vmm.spec import Descriptors, VmSpec

GONE_TIMEOUT_S = 5.0
CHANNELS = ("qmp", "restore", "console", "events", "output")
GATE_MODE = 0o500
"""It is started before it becomes the box's user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Our ends of a machine's sockets. The portal's listening ends belong to QEMU alone, so that they are refused
    as soon as it is dead."""

    qmp: socket.socket
    restore: socket.socket
    console: socket.socket
    events: socket.socket
    output: socket.socket

    @property
    def all(self) -> tuple[socket.socket, ...]:
        return (self.qmp, self.restore, self.console, self.events, self.output)

    def close(self) -> None:
        for end in self.all:
            end.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A started machine, in `jail`. `pid` is the outermost process (the jail's, where there is one), `fds` are the numbers that
    `argv` speaks of; `claim` keeps the user it became from others."""

    process: asyncio.subprocess.Process | Child
    channels: Channels
    argv: tuple[str, ...]
    fds: Descriptors
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

    async def kill(self, *, leftovers: Sequence[Path] = ()) -> None:
        """End it at once and reap it. QEMU is gone then: it ends a moment after the jail, and holds the box's disk.
        `leftovers` are paths by which a machine is found that lives on without its jail (engine.vmm.leftovers)."""
        self.kill_now()
        await self.process.wait()
        for path in leftovers:
            await asyncio.to_thread(kill_leftovers, path)
        await self._wait_gone()
        self.channels.close()
        if self.claim is not None:
            self.claim.close()

    async def _wait_gone(self) -> None:
        """Until nobody has the other end of a channel any more."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(GONE_TIMEOUT_S):
                while await loop.sock_recv(self.channels.restore, 65536):
                    pass


def machine_command(spec: VmSpec, security: SecurityOptions, fds: Descriptors, jail: Jail) -> Command:
    """QEMU in its jail, as it is started by the gate in `gate_path`. Pure but for what is installed: the same machine gives
    the same command."""
    argv = build_qemu_argv(host.qemu_binary(), spec, fds, share_path=share_inside(spec, security))
    command = Command(argv=argv, pass_fds=fds.all)
    return wrap(command, jail, gate=gate_path(spec) if jail.enabled else None)


def gate_path(spec: VmSpec) -> str:
    """Where the gate of a machine lies: beside the directory that it is shown."""
    return f"{spec.share_path}.gate"


async def start_machine(
    spec: VmSpec,
    *,
    portals: Sequence[Path],
    lanes: Sequence[Path],
    security: SecurityOptions,
    log_path: Path,
    home: Path,
    network: socket.socket | None = None,
    gateway: socket.socket | None = None,
) -> Machine:
    """Start QEMU for `spec`, jailed as `security` says. Returns once the process exists, not once it runs.

    `network` is the machine's end of the pair whose other end the network process has, `gateway` that of a restricted box's
    network port. QEMU's own messages go to `log_path`; `home` is the home directory. Raises EngineError when QEMU cannot be
    started, JailError when the jail cannot be built.
    """
    listeners = [listen_unix(path) for path in (*portals, *lanes)]
    listening = [listener.fileno() for listener in listeners]
    pairs = [socket.socketpair() for _ in CHANNELS]
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    fds = Descriptors(
        **{name: end.fileno() for name, end in zip(CHANNELS, theirs, strict=True)},
        portals=tuple(listening[: len(portals)]),
        lanes=tuple(listening[len(portals) :]),
        network=None if network is None else network.fileno(),
        gateway=None if gateway is None else gateway.fileno(),
    )
    claim = claim_identity(security)
    try:
        identity = None if claim is None else claim.identity
        jail = machine_jail(spec, security, host.qemu_binary(), identity=identity)
        async with prepared(spec, jail, home) as prepared_jail:
            command = machine_command(spec, security, fds, prepared_jail)
            if prepared_jail.mount_namespace is not None:
                command = replace(command, pass_fds=(*command.pass_fds, prepared_jail.mount_namespace))
            process = await start(command, log_path=log_path)
    except BaseException as error:
        for end in ours:
            end.close()
        if claim is not None:
            claim.close()
        if isinstance(error, OSError):
            raise EngineError(f"the machine could not be started: {error.strerror}") from error
        raise
    finally:
        for used in (*theirs, *listeners, network, gateway):
            if used is not None:
                used.close()
    channels = open_channels(ours)
    if spec.template is not None:
        channels.restore.send(build_restore_script(spec.template.state_path))
    return Machine(process=process, channels=channels, argv=command.argv, fds=fds, jail=jail, claim=claim)


@contextlib.asynccontextmanager
async def prepared(spec: VmSpec, jail: Jail, home: Path) -> AsyncIterator[Jail]:
    """The jail as it is within the block, with all that it needs in place: files handed over, volumes mounted, the gate."""
    if not jail.enabled:
        yield jail
        return
    make_mountpoints(spec)
    hand_over_files(jail)
    async with contextlib.AsyncExitStack() as stack:
        if jail.identity is not None and spec.shares:
            from engine.jailer.idmap import shown_as_own

            jail = await stack.enter_async_context(shown_as_own(jail, Path(f"{spec.share_path}.shown")))
        gate = Path(gate_path(spec))
        gate.unlink(missing_ok=True)
        gate.write_bytes(make_gate(host.qemu_binary(), jail, Layout(home).jail_dir))
        gate.chmod(GATE_MODE)
        yield jail


def open_channels(ends: Sequence[socket.socket]) -> Channels:
    """Our ends, in the order of CHANNELS."""
    for end in ends:
        end.setblocking(False)
    return Channels(**dict(zip(CHANNELS, ends, strict=True)))
