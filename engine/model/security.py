"""What stands between a guest that has won and the host."""

from __future__ import annotations

from engine.errors import InvalidArgumentError
from engine.values import dataclass

DOCKER_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
"""Docker's default set (moby, oci/caps/defaults.go), without the CAP_ prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """What stands between a guest that has won and the host. `preset` is what it was made from."""

    preset: str = "enabled"
    jailer_enabled: bool = True
    seccomp_enabled: bool = True
    new_pid_ns: bool = True
    new_net_ns: bool = True
    chroot_enabled: bool = True
    close_fds: bool = True
    sanitize_env: bool = True
    env_allowlist: tuple[str, ...] = ()
    network_enabled: bool = True
    uid: int | None = None
    gid: int | None = None
    chroot_base: str | None = None
    sandbox_profile: str | None = None
    max_open_files: int | None = 1024
    max_file_size_bytes: int | None = None
    max_processes: int | None = 1024
    max_memory_bytes: int | None = None
    max_cpu_time_s: int | None = None

    @classmethod
    def from_preset(cls, name: str) -> SecurityOptions:
        """development and disabled: no jail. standard: no limits. maximum: tight limits. enabled: default."""
        match name:
            case "enabled" | "enable":
                return cls()
            case "standard":
                return cls(preset="standard", max_open_files=None, max_processes=None)
            case "maximum":
                return cls(preset="maximum", max_processes=100)
            case "development" | "disabled" | "disable":
                return cls(
                    preset="disabled" if name == "disable" else name,
                    jailer_enabled=False, seccomp_enabled=False, new_pid_ns=False, new_net_ns=False,
                    chroot_enabled=False, close_fds=False, sanitize_env=False,
                    max_open_files=None, max_processes=None,
                )  # fmt: skip
        raise InvalidArgumentError(
            f"security preset {name!r} does not exist",
            hint="presets: enabled, standard, maximum, development, disabled",
        )
