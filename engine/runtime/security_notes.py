"""Which of the security options do nothing here: each is named in a warning, none is quietly passed over."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import InvalidArgumentError
from engine.model import BoxSpec, SecurityOptions

_LIMITS = {
    "max_open_files": "max_open_files",
    "max_file_size_bytes": "max_file_size",
    "max_processes": "max_processes",
    "max_memory_bytes": "max_memory",
    "max_cpu_time_s": "max_cpu_time",
}
_LEAST_MEMORY_BYTES = 1 << 30
"""What QEMU maps besides the machine's memory, at the least."""


def check_security(spec: BoxSpec) -> None:
    """Raises InvalidArgumentError for options under which no machine of that size could start."""
    needed = (spec.memory_mib << 20) + _LEAST_MEMORY_BYTES
    limit = spec.security.max_memory_bytes
    if spec.security.jailer_enabled and limit is not None and limit < needed:
        raise InvalidArgumentError(
            f"max_memory of {limit} bytes is less than a machine with {spec.memory_mib} MiB maps ({needed})",
            hint="raise max_memory, or give the box less memory",
        )


def ineffective_options(security: SecurityOptions, *, system: str, is_root: bool) -> Iterator[str]:
    """One line for each option that was asked for and changes nothing on this system. Pure."""
    if not security.jailer_enabled:
        yield from _without_jail(security)
        return
    if not security.chroot_enabled:
        yield "chroot_enabled=False has no effect: a machine is always shown a root of its own"
    if security.chroot_base is not None:
        yield f"chroot_base={security.chroot_base} has no effect: the machine's root is a file system in memory"
    if not security.close_fds:
        yield "close_fds=False has no effect: a machine inherits no descriptor but those made for it"
    if not security.sanitize_env:
        yield "sanitize_env=False has no effect: a machine's process has no environment at all"
    if security.env_allowlist:
        names = ", ".join(security.env_allowlist)
        yield f"env_allowlist ({names}) has no effect: a machine's process has no environment at all"
    if system == "linux":
        yield from _on_linux(security, is_root=is_root)
    else:
        yield from _on_macos(security)


def _without_jail(security: SecurityOptions) -> Iterator[str]:
    """Weaker by name, so only what was asked for on top is worth a word."""
    asked = [shown for name, shown in _LIMITS.items() if getattr(security, name) is not None]
    asked += [
        name
        for name in ("uid", "gid", "sandbox_profile", "chroot_base")
        if getattr(security, name) is not None
    ]
    for name in asked:
        yield f"{name} has no effect without a jail (jailer_enabled=False)"


def _on_linux(security: SecurityOptions, *, is_root: bool) -> Iterator[str]:
    if security.sandbox_profile is not None:
        yield f"sandbox_profile={security.sandbox_profile} has no effect on Linux: it is for sandbox-exec of macOS"
    if is_root:
        return
    for name in ("uid", "gid"):
        if (value := getattr(security, name)) is not None:
            yield f"{name}={value} has no effect: only root can choose who a machine is, it stays you"


def _on_macos(security: SecurityOptions) -> Iterator[str]:
    if security.max_memory_bytes is not None:
        yield "max_memory has no effect on macOS: its kernel does not limit address space"
    for name in ("uid", "gid"):
        if (value := getattr(security, name)) is not None:
            yield f"{name}={value} has no effect on macOS: a machine stays you"
    for name in ("new_pid_ns", "new_net_ns"):
        if not getattr(security, name):
            yield f"{name}=False has no effect on macOS: it has no namespaces"
    if not security.seccomp_enabled:
        yield "seccomp_enabled=False has no effect on macOS: it has no seccomp"
