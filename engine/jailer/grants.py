"""What a jailed process may see and use: data, so that it can be printed, compared and tested."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from engine.jailer.syscalls import SyscallProfile
from engine.values import dataclass

DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


class Access(StrEnum):
    READ = "read"
    WRITE = "write"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One path of the host, visible in the jail at `target` (None: at the same place). `executes`: a program may be
    started from it. `shared`: many boxes read it, so that it stays its owner's when a box has a user of its own.
    `foreign`: it belongs to the person, and stays so; `mounted_at`: where it is mounted under the ids of a box."""

    path: str
    access: Access
    target: str | None = None
    optional: bool = False
    executes: bool = False
    shared: bool = False
    foreign: bool = False
    mounted_at: str | None = None

    @property
    def inside(self) -> str:
        return self.target or self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resource limits (setrlimit(2)); None leaves the inherited one."""

    open_files: int | None = None
    file_size_bytes: int | None = None
    processes: int | None = None
    memory_bytes: int | None = None
    cpu_time_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user and group of the host a process becomes, and the group that reads what all boxes share."""

    uid: int
    gid: int
    shared_gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Jail:
    """A room for one process. `network` False: an empty network namespace of its own.

    `identity` None: the process stays the user who started it, in a user namespace without any capability; else it becomes
    that user, which only root can arrange. `syscalls` None: no filter of ours. `directories` are empty and made in the
    room. `capabilities` are left to a program that confines itself further and gives them up, where root starts it; it
    then has no user namespace from us. `mounts`: it makes mounts of its own, which Landlock on files would forbid (landlock(7)): files are
    kept from it by the view alone. `listens`: the TCP ports it may bind where `network`, None for any. `pids` False: it sees the processes of the host. `mount_namespace`: a descriptor of the one whose paths the grants
    are of, where it is not ours. `profile_path`: a sandbox-exec profile to use instead of the grants (macOS).

    `enabled` False is the named weaker mode (`--security disabled`): the command then runs as it is.
    """

    grants: tuple[Grant, ...] = ()
    directories: tuple[str, ...] = ()
    network: bool = False
    capabilities: tuple[str, ...] = ()
    enabled: bool = True
    pids: bool = True
    landlock: bool = True
    mounts: bool = False
    listens: tuple[int, ...] | None = None
    syscalls: SyscallProfile | None = None
    identity: Identity | None = None
    limits: Limits = field(default_factory=Limits)
    hostname: str = "boxlite"
    mount_namespace: int | None = None
    profile_path: str | None = None

    @property
    def devices(self) -> tuple[Grant, ...]:
        """What every jail has of /dev."""
        return tuple(device(path) for path in DEVICES)


def read(path: str, *, target: str | None = None, optional: bool = False, shared: bool = False) -> Grant:
    return Grant(path=path, access=Access.READ, target=target, optional=optional, shared=shared)


def run(path: str) -> Grant:
    """A program or loader: read and started."""
    return Grant(path=path, access=Access.READ, executes=True)


def write(path: str, *, target: str | None = None) -> Grant:
    return Grant(path=path, access=Access.WRITE, target=target)


def device(path: str) -> Grant:
    return Grant(path=path, access=Access.DEVICE)
