"""The values of this room: what a machine is made of, before anything runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from engine.model import Accel
from engine.values import dataclass

TEMPLATE_FORMAT = 3
"""Version of a template on disk; part of its key, so that an older one is simply not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFiles:
    """The three files of a guest image (absolute host paths) and their digest."""

    digest: str
    kernel_path: str
    initramfs_path: str
    root_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What makes two machines interchangeable before they become a box: a template fits one shape."""

    accel: Accel
    cpu_model: str
    machine: str
    arch: str
    qemu_version: str
    cpus: int
    memory_mib: int
    network: bool
    guest_digest: str
    console: str

    @property
    def key(self) -> str:
        """24 hex digits that name the template of this shape."""
        document = json.dumps({"format": TEMPLATE_FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A saved machine: `memory_path` is its RAM (sparse), `state_path` the device state."""

    key: str
    memory_path: str
    state_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A file or directory of the host that the jail shows as `name` in the shared directory."""

    source: str
    name: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSpec:
    """One machine to start. `template` None: boot cold. Sizes of disks are those of the files.

    `share_path` is the directory exported over 9p; `disk_path` a qcow2 file whose backing file is `base_path`,
    None for the machine a template is made from, which keeps its empty disk.
    """

    shape: Shape
    guest: GuestFiles
    share_path: str
    shares: tuple[Share, ...] = ()
    disk_path: str | None = None
    base_path: str | None = None
    disk_size_bytes: int = 0
    template: Template | None = None
    memory_path: str | None = None
    seccomp: bool = True
    kernel_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """Numbers of the inherited descriptors QEMU finds its sockets at.

    `portals` and `lanes` are listening sockets; the others are one end of a connected pair each. `network` None: no backend
    process (a template, or no network). `gateway` is the end of a restricted box's network port; None: nobody is there.
    """

    qmp: int
    restore: int
    console: int
    events: int
    output: int
    portals: tuple[int, ...]
    lanes: tuple[int, ...] = ()
    network: int | None = None
    gateway: int | None = None

    @property
    def all(self) -> tuple[int, ...]:
        rest = tuple(fd for fd in (self.network, self.gateway) if fd is not None)
        sockets = (*self.portals, *self.lanes)
        return (self.qmp, self.restore, self.console, self.events, self.output, *sockets, *rest)
