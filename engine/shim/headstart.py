"""A machine started before it is known which box it will be: claimed by a box that needs just that machine, or ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from engine import host
from engine.errors import BoxliteError
from engine.fsutil import write_atomic
from engine.jailer.grants import Identity, Jail
from engine.jailer.identity import SHARED_GID
from engine.jailer.ownership import Claim
from engine.jailer.room import make_gate
from engine.layout import BoxLayout, Layout
from engine.model import SecurityOptions
from engine.process import Child
from engine.shim.usual import (
    CARD,
    CHANNELS,
    NONE,
    PORT,
    SOCKET_PREFIX,
    UsualMachine,
    encode_note,
    kind_of,
    note_path,
)
from engine.values import dataclass
from engine.vmm.confinement import LARGEST_USUAL_DISK_BYTES, machine_jail
from engine.vmm.machine import Machine, machine_command, open_channels
from engine.vmm.monitor import Monitor, open_monitor
from engine.vmm.restore import build_restore_script, wait_restored
from engine.vmm.spec import Descriptors, VmSpec
from guest.wire.constants import LANES, PORTAL_PORTS


def note_machine(layout: Layout, spec: VmSpec, security: SecurityOptions, machine: Machine) -> None:
    """Remember the machine of a box that came up, if the next box's may be the same. A note that cannot be written is
    none: the next start is slower."""
    if not _is_common(spec, security) or spec.template is None:
        return
    fds = machine.fds
    numbers = [
        fds.qmp,
        fds.restore,
        fds.console,
        fds.events,
        fds.output,
        *(end for end in (fds.network, fds.gateway) if end is not None),
        *fds.portals,
        *fds.lanes,
    ]
    script = build_restore_script(spec.template.state_path)
    with contextlib.suppress(OSError, BoxliteError):
        gate = make_gate(host.qemu_binary(), machine.jail, layout.jail_dir)
        note = encode_note(spec.share_path, script, gate, numbers, machine.argv)
        kind = kind_of(_link(fds), spec.shape.cpus, spec.shape.memory_mib)
        write_atomic(Path(note_path(str(layout.home), kind)), note)


def _is_common(spec: VmSpec, security: SecurityOptions) -> bool:
    """Has this nothing about it that only its own box has?"""
    return (
        spec.template is not None
        and not spec.shares
        and spec.disk_size_bytes <= LARGEST_USUAL_DISK_BYTES
        and security.uid is None
        and security.gid is None
        and security.jailer_enabled
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyMachine:
    """A restored machine without a disk, and what goes with it. Whoever has it ends it."""

    machine: Machine
    monitor: Monitor
    resources: contextlib.AsyncExitStack
    network: socket.socket | None


class HeadStart:
    """The usual machine on its way, until a box claims it."""

    def __init__(self, usual: UsualMachine) -> None:
        self._usual = usual
        self._directory = Path(usual.directory)
        self._lock = usual.lock
        self._far_end = usual.far_end
        self._machine = Machine(
            process=Child(usual.pid),
            channels=open_channels(usual.ends),
            argv=tuple(usual.argv),
            fds=_descriptors(usual.link, usual.fds),
            jail=Jail(),  # known once it is claimed
            claim=_claim(usual),
        )
        self._resources = contextlib.AsyncExitStack()
        self._restoring = asyncio.ensure_future(self._restore())

    async def _restore(self) -> Monitor:
        channels = self._machine.channels
        await wait_restored(channels.restore)
        return await self._resources.enter_async_context(open_monitor(channels.qmp))

    async def claim(
        self, spec: VmSpec, security: SecurityOptions, box: BoxLayout, link: str
    ) -> ReadyMachine | None:
        """The machine, its sockets and its log moved into the box's directory; None, and nothing left of it, when the box
        needs another or it did not come up. `link` is what connects the box's machine."""
        try:
            jail = self._jail_if_fitting(spec, security, box) if link == self._usual.link else None
            if jail is None:
                await self.discard()
                return None
            monitor = await self._restoring
            for number, place in enumerate(_listening(box)):
                (self._directory / f"{SOCKET_PREFIX}{number}.sock").rename(place)
            (self._directory / "qemu.log").replace(box.qemu_log)
            box.head_start_path.write_text(str(self._directory))
        except (BoxliteError, OSError, ValueError):
            await self.discard()
            return None
        self._forget()
        return ReadyMachine(
            machine=replace(self._machine, jail=jail),
            monitor=monitor,
            resources=self._resources.pop_all(),
            network=self._far_end,
        )

    def _jail_if_fitting(self, spec: VmSpec, security: SecurityOptions, box: BoxLayout) -> Jail | None:
        """The jail that a machine of the box would be put in, if this machine is that machine, in that jail."""
        if not _is_common(spec, security):
            return None
        wanted = replace(spec, share_path=str(self._directory / "mounts"))
        claim = self._machine.claim
        identity = None if claim is None else claim.identity
        binary = host.qemu_binary()
        jail = machine_jail(wanted, security, binary, identity=identity)
        home = Layout(box.root.parent.parent)
        is_it = (
            machine_command(wanted, security, self._machine.fds, jail).argv == self._machine.argv
            and make_gate(binary, jail, home.jail_dir) == self._usual.gate
        )
        return jail if is_it else None

    async def discard(self) -> None:
        """End the machine, with nothing left of it."""
        self._machine.kill_now()
        self._restoring.cancel()
        await asyncio.gather(self._restoring, return_exceptions=True)
        await self._resources.aclose()
        await self._machine.kill(leftovers=[self._directory])  # QEMU may not have begun
        if self._far_end is not None:
            self._far_end.close()
        self._forget()

    def _forget(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        os.close(self._lock)


def _listening(box: BoxLayout) -> list[Path]:
    """The sockets a machine listens on, in the order of its descriptors."""
    portals = [box.portal_socket(number) for number in range(PORTAL_PORTS)]
    return portals + [box.lane_socket(number) for number in range(LANES)]


def _claim(usual: UsualMachine) -> Claim | None:
    if usual.uid is None or usual.held is None:
        return None
    return Claim(Identity(uid=usual.uid, gid=usual.uid, shared_gid=SHARED_GID), usual.held)


def _link(fds: Descriptors) -> str:
    if fds.network is not None:
        return CARD
    return NONE if fds.gateway is None else PORT


def _descriptors(link: str, numbers: list[int]) -> Descriptors:
    qmp, restore, console, events, output = numbers[:CHANNELS]
    connected = CHANNELS + (link != NONE)
    end, listening = numbers[connected - 1], numbers[connected:]
    return Descriptors(
        qmp=qmp, restore=restore, console=console, events=events, output=output,
        network=end if link == CARD else None, gateway=end if link == PORT else None,
        portals=tuple(listening[:PORTAL_PORTS]), lanes=tuple(listening[PORTAL_PORTS:]),
    )  # fmt: skip
