"""The filter of a box's container: what `run` needs, without compiling anything in the usual case."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.errors import InvalidArgumentError

UNCONFINED = "unconfined"
ARCHES = ("x86_64", "aarch64")


def container_filter(
    seccomp: str, capabilities: Iterable[str], *, privileged: bool, arch: str, cache_dir: Path
) -> bytes:
    """The program for the kernel (see program), from `cache_dir` where it is none of the usual ones; empty: none.

    `seccomp` is empty for Docker's default, `unconfined`, or a profile's JSON. A privileged container has none but what was
    asked for, as Docker has it. Raises InvalidArgumentError, UnsupportedError for a profile that is wrong.
    """
    if seccomp == UNCONFINED or (privileged and not seccomp):
        return b""
    held = frozenset(capabilities)
    if not seccomp and _is_usual(held):
        return committed_path(arch).read_bytes()
    from engine.seccomp.docker import default_profile
    from engine.seccomp.profile import parse_profile
    from engine.seccomp.program import load_program

    profile = parse_profile(seccomp, arch=arch, capabilities=held) if seccomp else default_profile(held)
    try:
        return load_program(profile, arch, cache_dir, compat=True)
    except ValueError as error:
        raise InvalidArgumentError(f"the seccomp profile cannot be made into a filter: {error}") from error


def committed_path(arch: str) -> Path:
    """Where the compiled filter lies for a container with the usual capabilities. `scripts/seccomp` makes it,
    and a test compares what it decides."""
    return Path(__file__).with_name(f"default-{arch}.bpf")


_OPENING = frozenset({
    "BPF", "DAC_READ_SEARCH", "PERFMON", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE",
    "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_TIME", "SYS_TTY_CONFIG",
})  # fmt: skip
"""The capabilities that open calls (`docker.OPENED_BY`, without its table's cost)."""


def _is_usual(held: frozenset[str]) -> bool:
    """Of the capabilities that matter for the default profile, Docker's default set has one."""
    return held & _OPENING == {"SYS_CHROOT"}
