"""One QEMU process and the sockets that lead into it.

Every socket is made here and handed over as a descriptor, so the jail needs no writable directory for them:
the portal's are listening before QEMU exists, so a client may connect early and waits in the backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine import host
from engine.errors import EngineError
from engine.jailer.bubblewrap import with_limits, wrap
from engine.jailer.grants import Grant, Jail, Limits, device, read, write
from engine.model import Accel, SecurityOptions
from engine.process import Command, start
from engine.sockets import listen_unix
from engine.vmm.arguments import build_qemu_argv
from engine.vmm.spec import Descriptors, VmSpec

MANY_LIBRARIES = 8
FIRMWARE_DIRS = ("/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu")


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
    """A started machine. `pid` is the outermost process (the jail's, where there is one)."""

    process: asyncio.subprocess.Process
    channels: Channels
    argv: tuple[str, ...]

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


def _program_grants(binary: str) -> Iterator[Grant]:
    """A program and what it loads. A directory that holds many of its libraries is shown whole: bubblewrap takes a third
    of a millisecond a path, and QEMU has fifty libraries, nearly all in one directory of public files."""
    by_directory: dict[str, list[str]] = {}
    for path in host.libraries_of(binary):
        by_directory.setdefault(str(Path(path).parent), []).append(path)
    for directory, paths in by_directory.items():
        if len(paths) >= MANY_LIBRARIES:
            yield read(directory)
        else:
            yield from (read(path) for path in paths)


def machine_jail(spec: VmSpec, security: SecurityOptions, binary: str) -> Jail:
    """What QEMU is granted: itself and its libraries, the guest image, this box's template. Disks come as descriptors."""
    grants: list[Grant] = list(_program_grants(binary))
    grants += [read(path, optional=True) for path in FIRMWARE_DIRS]
    grants += [
        read(path) for path in (spec.guest.kernel_path, spec.guest.initramfs_path, spec.guest.root_path)
    ]
    grants.append(write(spec.share_path))
    for share in spec.shares:
        target = f"{spec.share_path}/{share.name}"
        grants.append(
            read(share.source, target=target) if share.read_only else write(share.source, target=target)
        )
    if spec.template is not None:
        grants += [read(spec.template.memory_path), read(spec.template.state_path)]
    if spec.memory_path is not None:
        grants.append(write(str(Path(spec.memory_path).parent)))
    if spec.shape.accel is Accel.KVM:
        grants.append(device("/dev/kvm"))
    return Jail(
        grants=tuple(grants),
        enabled=security.jailer_enabled,
        limits=Limits(
            open_files=security.max_open_files,
            file_size_bytes=security.max_file_size_bytes,
            memory_bytes=security.max_memory_bytes,
            cpu_time_s=security.max_cpu_time_s,
        ),
    )


async def start_machine(
    spec: VmSpec,
    *,
    portals: Sequence[Path],
    security: SecurityOptions,
    log_path: Path,
    network: socket.socket | None = None,
) -> Machine:
    """Start QEMU for `spec`, jailed as `security` says. Returns once the process exists, not once it runs.

    `network` is the machine's end of the pair whose other end the network process has. QEMU's own messages go to
    `log_path`. Raises EngineError when QEMU cannot be started.
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
    jail = machine_jail(spec, security, binary)
    jailed = with_limits(wrap(command, jail), jail)
    try:
        process = await start(jailed, log_path=log_path)
    except OSError as error:
        for end in ours:
            end.close()
        raise EngineError(f"{jailed.argv[0]} could not be started: {error.strerror}") from error
    finally:
        for end in (*theirs, *listeners, *([network] if network is not None else [])):
            end.close()
    for end in ours:
        end.setblocking(False)
    channels = Channels(qmp=ours[0], console=ours[1], events=ours[2], output=ours[3])
    return Machine(process=process, channels=channels, argv=jailed.argv)
