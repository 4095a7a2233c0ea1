"""How strongly the machine of a box is confined on the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from engine import model

_RENAMED = {
    "max_file_size": "max_file_size_bytes",
    "max_memory": "max_memory_bytes",
    "max_cpu_time": "max_cpu_time_s",
}
_FIELDS = (
    "preset", "jailer_enabled", "seccomp_enabled", "new_pid_ns", "new_net_ns", "chroot_enabled", "close_fds",
    "sanitize_env", "env_allowlist", "network_enabled", "uid", "gid", "chroot_base", "sandbox_profile", "max_open_files",
    "max_file_size", "max_processes", "max_memory", "max_cpu_time",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class SecurityOptions:
    """The wall around the machine; the box itself is confined by being a machine.

    Begin with a preset and change what should differ; what is changed after `create` changes nothing there. Limits are
    those of one process of the machine on the host (setrlimit(2)): sizes in bytes, times in seconds, None for none.
    `network_enabled=False` makes a box without a network.
    """

    preset: str = "enabled"
    jailer_enabled: bool = True
    seccomp_enabled: bool = True
    new_pid_ns: bool = True
    new_net_ns: bool = True
    chroot_enabled: bool = True
    close_fds: bool = True
    sanitize_env: bool = True
    env_allowlist: list[str] = field(default_factory=list)
    network_enabled: bool = True
    uid: int | None = None
    gid: int | None = None
    chroot_base: str | None = None
    sandbox_profile: str | None = None
    max_open_files: int | None = 1024
    max_file_size: int | None = None
    max_processes: int | None = 1024
    max_memory: int | None = None
    max_cpu_time: int | None = None

    @classmethod
    def development(cls) -> Self:
        """No wall at all, to find out whether it is in the way."""
        return cls._from_preset("development")

    @classmethod
    def standard(cls) -> Self:
        """The wall without limits."""
        return cls._from_preset("standard")

    @classmethod
    def maximum(cls) -> Self:
        """The wall with tight limits: for code nobody trusts."""
        return cls._from_preset("maximum")

    @classmethod
    def enabled(cls) -> Self:
        """The default: the wall with limits that ordinary work does not meet."""
        return cls._from_preset("enabled")

    @classmethod
    def disabled(cls) -> Self:
        """The same as `development`."""
        return cls._from_preset("disabled")

    @classmethod
    def _from_preset(cls, name: str) -> Self:
        made = model.SecurityOptions.from_preset(name)
        values = {key: getattr(made, _RENAMED.get(key, key)) for key in _FIELDS}
        return cls(**{**values, "env_allowlist": list(made.env_allowlist)})

    def to_model(self) -> model.SecurityOptions:
        """These options as the engine has them."""
        values = {_RENAMED.get(key, key): getattr(self, key) for key in _FIELDS}
        return model.SecurityOptions(**{**values, "env_allowlist": tuple(self.env_allowlist)})
