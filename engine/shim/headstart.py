"""A machine started before it is known which box it will be.

Most boxes run on the same machine as the one before: its shape, guest image and template are noted, so that a shim can
start and restore one while the starter still reads the command line, and give it the box's disk when the plan comes.
A plan that asks for another machine gets another, and this one ends unused, as it does when no plan comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from engine.errors import BoxliteError, EngineError
from engine.fsutil import remove_tree, try_lock, write_atomic
from engine.layout import BoxLayout, Layout
from engine.model import Accel, SecurityOptions
from engine.vmm.leftovers import kill_leftovers
from engine.vmm.machine import Machine, start_machine
from engine.vmm.monitor import Monitor, open_monitor
from engine.vmm.spec import GuestFiles, Shape, Template, VmSpec
from guest.wire.constants import PORTAL_PORTS

PREFIX = "head-"


def note_machine(layout: Layout, spec: VmSpec, security: SecurityOptions) -> None:
    """Remember the machine of a box that came up, if the next box's may be the same. A note that cannot be written is
    none: the next start is slower."""
    if not _is_common(spec, security):
        return
    document = json.dumps(
        {"shape": asdict(spec.shape), "guest": asdict(spec.guest), "template": asdict(_template(spec))}
    ).encode()
    with contextlib.suppress(OSError, BoxliteError):
        if not layout.usual_machine_path.exists() or layout.usual_machine_path.read_bytes() != document:
            write_atomic(layout.usual_machine_path, document)


def _is_common(spec: VmSpec, security: SecurityOptions) -> bool:
    """Is there nothing about this machine that only its own box has?"""
    return (
        spec.template is not None
        and spec.shape.network
        and spec.seccomp
        and not spec.shares
        and not spec.kernel_args
        and security == SecurityOptions()
    )


def _template(spec: VmSpec) -> Template:
    assert spec.template is not None
    return spec.template


def _read_note(layout: Layout) -> VmSpec | None:
    try:
        document = json.loads(layout.usual_machine_path.read_bytes())
        shape = Shape(**{**document["shape"], "accel": Accel(document["shape"]["accel"])})
        return VmSpec(
            shape=shape,
            guest=GuestFiles(**document["guest"]),
            template=Template(**document["template"]),
            share_path="",
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyMachine:
    """A restored machine without a disk, and what goes with it. Whoever has it ends it."""

    machine: Machine
    monitor: Monitor
    resources: contextlib.AsyncExitStack
    network: socket.socket


class HeadStart:
    """The machine of the note, in a directory of its own until a box claims it."""

    def __init__(self, directory: Path, lock: int, spec: VmSpec) -> None:
        self._directory = directory
        self._lock = lock
        self._spec = spec
        self._resources = contextlib.AsyncExitStack()
        self._machine: Machine | None = None
        self._restoring: asyncio.Task[Monitor] | None = None
        self._far_end: socket.socket | None = None

    @classmethod
    async def begin(cls, home: Path) -> HeadStart | None:
        """Start the machine that was noted last in this home; None when there is none or it cannot be started."""
        layout = Layout(home)
        spec = _read_note(layout)
        if spec is None:
            return None
        try:
            directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=layout.tmp_dir))
            lock = try_lock(directory / "lock")
        except OSError:
            return None
        if lock is None:
            return None
        (directory / "mounts").mkdir(mode=0o700)
        head = cls(directory, lock, replace(spec, share_path=str(directory / "mounts")))
        try:
            await head._start()
        except (BoxliteError, OSError):
            await head.discard()
            return None
        return head

    async def _start(self) -> None:
        machine_end, self._far_end = socket.socketpair()
        self._machine = await start_machine(
            self._spec,
            portals=[self._directory / f"portal-{number}.sock" for number in range(PORTAL_PORTS)],
            security=SecurityOptions(),
            log_path=self._directory / "qemu.log",
            network=machine_end,
        )
        self._restoring = asyncio.create_task(self._restore(self._machine))

    async def _restore(self, machine: Machine) -> Monitor:
        monitor = await self._resources.enter_async_context(open_monitor(machine.channels.qmp))
        await monitor.restore(_template(self._spec).state_path)
        await monitor.wait_restored()
        return monitor

    async def claim(self, spec: VmSpec, security: SecurityOptions, box: BoxLayout) -> ReadyMachine | None:
        """The machine, its sockets and its log moved into the box's directory; None, and nothing left of it, when the box
        needs another or it did not come up."""
        if not self._fits(spec, security):
            await self.discard()
            return None
        assert self._machine is not None and self._restoring is not None and self._far_end is not None
        try:
            monitor = await self._restoring
            for number in range(PORTAL_PORTS):
                (self._directory / f"portal-{number}.sock").rename(box.portal_socket(number))
            (self._directory / "qemu.log").replace(box.qemu_log)
        except (EngineError, BoxliteError, OSError):
            await self.discard()
            return None
        ready = ReadyMachine(
            machine=self._machine,
            monitor=monitor,
            resources=self._resources.pop_all(),
            network=self._far_end,
        )
        self._machine = self._far_end = None
        self._forget()
        return ready

    def _fits(self, spec: VmSpec, security: SecurityOptions) -> bool:
        return (
            _is_common(spec, security)
            and self._spec.shape == spec.shape
            and self._spec.guest == spec.guest
            and self._spec.template == spec.template
        )

    async def discard(self) -> None:
        """End the machine, with nothing left of it."""
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.gather(self._restoring, return_exceptions=True)
        unsure = self._restoring is None or self._restoring.cancelled()
        if self._machine is not None:
            self._machine.kill_now()
        await self._resources.aclose()
        if self._machine is not None:
            await self._machine.kill()
            if unsure:  # QEMU may not have begun: see engine.vmm.leftovers
                await asyncio.to_thread(kill_leftovers, self._directory)
        if self._far_end is not None:
            self._far_end.close()
        self._forget()

    def _forget(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        os.close(self._lock)


def sweep_head_starts(layout: Layout) -> None:
    """End and remove what killed shims left of machines that nobody had claimed."""
    for directory in layout.tmp_dir.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, BoxliteError):
            lock = try_lock(directory / "lock")
            if lock is not None:
                kill_leftovers(directory)
                remove_tree(directory)
                os.close(lock)
