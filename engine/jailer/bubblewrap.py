"""The Linux jail: bubblewrap with every namespace unshared, no capability, and a view of only what was granted.

`wrap` is pure: the same jail and command give the same argument vector (golden tests compare it).
"""

from __future__ import annotations

from dataclasses import replace

from engine.errors import JailError
from engine.jailer.grants import Access, Grant, Jail
from engine.process import Command, find_program

NOBODY = 65534


def wrap(command: Command, jail: Jail) -> Command:
    """The command as it is started inside the jail. Needs bubblewrap ≥ 0.5.

    The process gets user, mount, pid, network, ipc, uts and cgroup namespaces of its own, no capability, no
    controlling terminal, an empty environment but for the command's own, and dies with its parent.
    """
    if not jail.enabled:
        return command.wrapped(*_die_with_parent())
    bwrap = find_program("bwrap")
    if bwrap is None:
        raise JailError(
            "bubblewrap (bwrap) is not installed, so no jail can be built",
            hint="install the package bubblewrap, or give up the second wall by name with `--security disabled`",
        )
    return command.wrapped(bwrap, *_namespaces(jail), *_view(jail), *_environment(command), "--")


def _die_with_parent() -> tuple[str, ...]:
    """Without a jail a process must still end with the one that started it (setpriv(1), util-linux ≥ 2.33)."""
    setpriv = find_program("setpriv")
    return () if setpriv is None else (setpriv, "--pdeath-signal", "KILL", "--")


def _namespaces(jail: Jail) -> tuple[str, ...]:
    network = ("--share-net",) if jail.network else ()
    return (
        "--unshare-user", "--unshare-all", *network,
        "--uid", str(NOBODY), "--gid", str(NOBODY),
        "--hostname", jail.hostname,
        "--cap-drop", "ALL",
        "--die-with-parent", "--new-session", "--as-pid-1",
    )  # fmt: skip


def _view(jail: Jail) -> tuple[str, ...]:
    words: list[str] = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  a tmpfs inside the jail
    for grant in jail.grants:
        words += (_bind_flag(grant), grant.path, grant.inside)
    return (*words, "--remount-ro", "/", "--chdir", "/")


def _bind_flag(grant: Grant) -> str:
    flag = {Access.READ: "--ro-bind", Access.WRITE: "--bind", Access.DEVICE: "--dev-bind"}[grant.access]
    return f"{flag}-try" if grant.optional else flag


def _environment(command: Command) -> tuple[str, ...]:
    words: list[str] = ["--clearenv"]
    for name, value in command.env.items():
        words += ("--setenv", name, value)
    return tuple(words)


def with_limits(command: Command, jail: Jail) -> Command:
    """Set the jail's resource limits around the command with prlimit(1) (util-linux)."""
    limits = jail.limits
    words = [
        f"--{name}={value}"
        for name, value in (
            ("nofile", limits.open_files),
            ("fsize", limits.file_size_bytes),
            ("as", limits.memory_bytes),
            ("cpu", limits.cpu_time_s),
        )
        if value is not None
    ]
    if not words:
        return command
    prlimit = find_program("prlimit")
    if prlimit is None:
        raise JailError("the program prlimit is not installed", hint="install the package util-linux")
    return replace(command, argv=(prlimit, *words, "--", *command.argv))
