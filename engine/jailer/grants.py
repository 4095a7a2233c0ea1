"""What a jailed process may see and use: data, so that it can be printed, compared and tested."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Access(StrEnum):
    READ = "read"
    WRITE = "write"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One path of the host, visible in the jail at `target` (None: at the same place)."""

    path: str
    access: Access
    target: str | None = None
    optional: bool = False

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
class Jail:
    """A room for one process. `network` False: an empty network namespace of its own.

    `enabled` False is the named weaker mode (`--security disabled`): the command then runs as it is.
    """

    grants: tuple[Grant, ...] = ()
    network: bool = False
    enabled: bool = True
    limits: Limits = field(default_factory=Limits)
    hostname: str = "boxlite"


def read(path: str, *, target: str | None = None, optional: bool = False) -> Grant:
    return Grant(path=path, access=Access.READ, target=target, optional=optional)


def write(path: str, *, target: str | None = None) -> Grant:
    return Grant(path=path, access=Access.WRITE, target=target)


def device(path: str) -> Grant:
    return Grant(path=path, access=Access.DEVICE)
