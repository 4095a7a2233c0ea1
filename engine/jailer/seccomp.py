"""Seccomp filters: profiles made into the kernel's programs by libseccomp, once per profile and host.

The programs are kept by content: making one takes some 40 ms, most of it loading, and every start of a box needs one.
"""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from engine.errors import JailError
from engine.fsutil import write_atomic
from engine.host import kernel_release, machine_arch
from engine.jailer.syscalls import Condition, Op, SyscallProfile

FILTER_FORMAT = 1
INSTRUCTION_BYTES = 8  # struct sock_filter (linux/filter.h)
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS


def load_filter(profile: SyscallProfile, directory: Path) -> bytes:
    """The filter program of a profile, from `directory` or made now and kept there. Blocks.

    Raises JailError where libseccomp is missing.
    """
    path = directory / f"{_key(profile)}.bpf"
    try:
        program = path.read_bytes()
    except OSError:
        program = b""
    if is_program(program):
        return program
    program = compile_filter(profile)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(path, program)
    return program


def is_program(content: bytes) -> bool:
    return 0 < len(content) <= MAX_INSTRUCTIONS * INSTRUCTION_BYTES and len(content) % INSTRUCTION_BYTES == 0


def _key(profile: SyscallProfile) -> str:
    document = repr((FILTER_FORMAT, machine_arch(), kernel_release(), profile))
    return f"{profile.name}-{hashlib.sha256(document.encode()).hexdigest()[:16]}"


def compile_filter(profile: SyscallProfile) -> bytes:
    """Have libseccomp write the program (seccomp_export_bpf(3)). Takes tens of milliseconds."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise JailError(
            f"the seccomp filter cannot be made: {error}",
            hint="install the package libseccomp2 (Fedora, Arch: libseccomp) and boxlite's dependency pyseccomp,"
            " or give up this wall alone by name with SecurityOptions(seccomp_enabled=False)",
        ) from error
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.ENOSYS))
    rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in profile.allowed:
        if _is_known(name):
            rules.add_rule(pyseccomp.ALLOW, name)
    for name, conditions in profile.conditional:
        if _is_known(name):
            rules.add_rule(pyseccomp.ALLOW, name, *(_argument(condition) for condition in conditions))
    for name in profile.refused:
        if _is_known(name):
            rules.add_rule(refuse, name)
    import tempfile

    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _is_known(name: str) -> bool:
    import pyseccomp

    try:
        return bool(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0)
    except (OSError, ValueError):
        return False


def _argument(condition: Condition) -> object:
    import pyseccomp

    if condition.op is Op.MASKED:
        return pyseccomp.Arg(condition.index, pyseccomp.MASKED_EQ, condition.mask, condition.value)
    comparison = pyseccomp.EQ if condition.op is Op.EQ else pyseccomp.GE
    return pyseccomp.Arg(condition.index, comparison, condition.value)
