"""The macOS jail: a sandbox-exec(1) profile from the same grants, everything else denied. Never run on a Mac yet.

The profile's language is Apple's own and hardly documented; what is used here is what the system's own profiles below
/System/Library/Sandbox/Profiles use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from engine.errors import JailError
from engine.jailer.grants import Access, Grant, Jail, Limits
from engine.process import Command

SANDBOX_EXEC = "/usr/bin/sandbox-exec"
SYSTEM_READ = ("/usr/lib", "/System/Library", "/System/Volumes/Preboot/Cryptexes", "/private/var/db/dyld")
"""What every program of macOS maps before its first instruction: public, the same on all machines."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_ULIMITS = (
    ("-n", "open_files", 1),
    ("-f", "file_size_bytes", 512),
    ("-u", "processes", 1),
    ("-t", "cpu_time_s", 1),
)
"""Flags of the shell's ulimit, the limit each sets, and the bytes or pieces its unit stands for."""


def wrap(command: Command, jail: Jail) -> Command:
    """The command as it is started inside the jail. Pure.

    Raises JailError for a grant that is to appear at another place: this sandbox shows files where they are.
    """
    if not jail.enabled:
        return command
    if jail.profile_path is not None:
        return _limited(command.wrapped(SANDBOX_EXEC, "-f", jail.profile_path), jail.limits)
    moved = [grant for grant in jail.grants if grant.target not in (None, grant.path)]
    if moved:
        raise JailError(
            f"{moved[0].path} cannot be shown at {moved[0].target}: there are no mounts for one process on macOS",
            hint="leave out the volume",
        )
    return _limited(command.wrapped(SANDBOX_EXEC, "-p", build_profile(command.argv[0], jail)), jail.limits)


def build_profile(program: str, jail: Jail) -> str:
    """The profile of a jail as text. Pure."""
    return "\n".join((*_rules(program, jail), ""))


def _rules(program: str, jail: Jail) -> Iterator[str]:
    yield "(version 1)"
    yield "(deny default)"
    yield f"(allow process-exec (literal {_quoted(program)}))"
    yield "(deny process-fork)"
    yield "(allow signal (target self))"
    yield "(allow sysctl-read)"
    for path in SYSTEM_READ:
        yield f"(allow file-read* file-map-executable (subpath {_quoted(path)}))"
    for path in DEVICES:
        yield f"(allow file-read* file-write-data (literal {_quoted(path)}))"
    for path in _ways(program, jail.grants):
        yield f"(allow file-read-metadata (literal {_quoted(path)}))"
    yield f"(allow file-read* file-map-executable (literal {_quoted(program)}))"
    for grant in jail.grants:
        yield _rule(grant)
    if jail.network:
        yield "(allow network*)"
    else:
        yield "(deny network*)"


def _rule(grant: Grant) -> str:
    """A path may be a file or a directory: `subpath` is true of both, and of nothing beside them."""
    rights = {
        Access.READ: "file-read* file-map-executable",
        Access.WRITE: "file-read* file-write*",
        Access.DEVICE: "file-read* file-write* file-ioctl",
    }[grant.access]
    return f"(allow {rights} (subpath {_quoted(grant.path)}))"


def _ways(program: str, grants: tuple[Grant, ...]) -> tuple[str, ...]:
    """Directories on the way to what is granted: they may be passed, not listed."""
    paths = (program, *(grant.path for grant in grants))
    return tuple(sorted({str(parent) for path in paths for parent in PurePosixPath(path).parents}))


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _limited(command: Command, limits: Limits) -> Command:
    """Set limits the only way a program of macOS can without being one's own: the shell's builtin, then exec."""
    words = [
        f"ulimit {flag} {max(value // unit, 1)}"
        for flag, name, unit in _ULIMITS
        if (value := getattr(limits, name)) is not None
    ]
    script = "; ".join(("set -e", "ulimit -c 0", *words, 'exec "$@"'))
    return replace(command, argv=("/bin/sh", "-c", script, "sh", *command.argv))
