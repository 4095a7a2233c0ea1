"""The jail's seccomp filters: its profiles as programs, made once per profile and host.

Making one takes some 40 ms, most of it loading, and every start of a box needs one.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import JailError, UnsupportedError
from engine.host import machine_arch
from engine.jailer.syscalls import SyscallProfile
from engine.seccomp.program import load_program


def load_filter(profile: SyscallProfile, directory: Path) -> bytes:
    """The filter program of a profile, from `directory` or made now and kept there. Blocks.

    Raises JailError where libseccomp is missing.
    """
    try:
        return load_program(profile.rules(), machine_arch(), directory, compat=False)
    except UnsupportedError as error:
        raise JailError(
            error.message,
            hint=f"{error.hint}, or give up this wall alone by name with SecurityOptions(seccomp_enabled=False)",
        ) from error
