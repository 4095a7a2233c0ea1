"""The Linux jail: bubblewrap with every namespace unshared, no capability, and a view of only what was granted.

`wrap` is pure: the same jail and command give the same argument vector (golden tests compare it).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from engine.errors import JailError
from engine.jailer.grants import Access, Grant, Jail
from engine.jailer.identity import INSIDE_ID
from engine.process import Command, find_program, get_program

GATE = "/gate"
_CAPABILITIES_OF_GATE = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_SYS_ADMIN")


def wrap(command: Command, jail: Jail, *, gate: int | str | None = None) -> Command:
    """The command as it is started inside the jail, by the gate that a descriptor holds or a path leads to. Needs bubblewrap ≥ 0.5.

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
    by = () if gate is None else (GATE,)
    return command.wrapped(
        *_entering(jail),
        bwrap,
        *_namespaces(jail),
        *_view(jail, gate),
        *_environment(command),
        "--",
        *by,
    )


def _entering(jail: Jail) -> tuple[str, ...]:
    """Begin where the grants' paths are (nsenter(1), util-linux)."""
    if jail.mount_namespace is None:
        return ()
    return (get_program("nsenter"), f"--mount=/proc/self/fd/{jail.mount_namespace}", "--")


def _die_with_parent() -> tuple[str, ...]:
    """Without a jail a process must still end with the one that started it (setpriv(1), util-linux ≥ 2.33)."""
    setpriv = find_program("setpriv")
    return () if setpriv is None else (setpriv, "--pdeathsig", "KILL", "--")


def _namespaces(jail: Jail) -> tuple[str, ...]:
    """A box with a user of its own gets its user namespace from the gate, which makes it as that user.

    It is not process 1 of its namespace then: a signal at a parent's death is sent with the dead parent's rights
    (kernel/exit.c, forget_original_parent), and bubblewrap's outer process may not kill another user's. Its inner one it
    may, and with process 1 the kernel ends all others of the namespace (pid_namespaces(7)).
    """
    words = ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    words += [] if jail.network else ["--unshare-net"]
    kept = _CAPABILITIES_OF_GATE if jail.identity is not None else jail.capabilities
    words += ["--unshare-pid"] if jail.pids else []
    words += ["--as-pid-1"] if jail.pids and not kept else []
    if not kept:
        words += ["--unshare-user", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID)]
    words += ["--hostname", jail.hostname, "--cap-drop", "ALL"]
    for capability in kept:
        words += ("--cap-add", capability)
    return (*words, "--die-with-parent", "--new-session")


def _view(jail: Jail, gate: int | str | None) -> tuple[str, ...]:
    words: list[str] = ["--proc", "/proc"] if jail.pids else ["--ro-bind", "/proc", "/proc"]
    grants = (*jail.devices, *jail.grants)
    for path in _directories(jail, grants):
        words += ("--perms", "0755", "--dir", path)
    for grant in grants:
        words += (_bind_flag(grant), grant.mounted_at or grant.path, grant.inside)
    if isinstance(gate, int):
        words += ("--perms", "0555", "--file", str(gate), GATE)
    elif gate is not None:
        words += ("--ro-bind", gate, GATE)
    return (*words, "--remount-ro", "/", "--chdir", "/")


def _directories(jail: Jail, grants: Sequence[Grant]) -> tuple[str, ...]:
    """Every directory that leads to a grant: bubblewrap alone would make it for root's eyes only."""
    ways = [parent for grant in grants for parent in _parents(grant.inside)]
    ways += [step for path in jail.directories for step in (*_parents(path), path)]
    return tuple(dict.fromkeys(ways))


def _parents(path: str) -> tuple[str, ...]:
    """The directories above a path, outermost first, without the root."""
    return tuple(str(parent) for parent in reversed(PurePosixPath(path).parents))[1:]


def _bind_flag(grant: Grant) -> str:
    flag = {Access.READ: "--ro-bind", Access.WRITE: "--bind", Access.DEVICE: "--dev-bind"}[grant.access]
    return f"{flag}-try" if grant.optional else flag


def _environment(command: Command) -> tuple[str, ...]:
    words: list[str] = ["--clearenv"]
    for name, value in command.env.items():
        words += ("--setenv", name, value)
    return tuple(words)
