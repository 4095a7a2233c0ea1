"""What the host asks for, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from guest.oci import BindMount, TmpfsMount
from guest.wire.constants import REHEARSAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the machine was told it is, as far as the container shows it."""

    hostname: str
    machine_id: str
    hosts: str
    resolv: str
    ephemeral: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRequest:
    """The container to make: what the host asked for, apart from its wire form."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = "/"
    create_working_dir: bool = False
    user: str = ""
    tty: bool = False
    stdin: bool = False
    rows: int = 0
    cols: int = 0
    binds: tuple[BindMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    capabilities: tuple[str, ...] = ()
    privileged: bool = False
    read_only: bool = False
    memory_bytes: int = 0
    pids: int = 0
    shm_bytes: int = 0
    rlimits: tuple[tuple[str, int, int], ...] = ()
    ca_certificates: tuple[str, ...] = ()
    init_process: bool = False
    files_only: bool = False
    seccomp_filter: bytes = b""
    no_new_privileges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRequest:
    """Another command to run in the container; empty fields are the container's own."""

    execution_id: str
    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    stdin: bool = False
    rows: int = 0
    cols: int = 0
    timeout_s: float = 0.0
    privileged: bool = False
    detach: bool = False
    background: bool = False

    @property
    def is_rehearsal(self) -> bool:
        """Not somebody's command (see guest.warmup)."""
        return self.execution_id == REHEARSAL
