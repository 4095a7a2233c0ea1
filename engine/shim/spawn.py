"""Starting one of our own modules as a process. Imports next to nothing, so that a command can do it first of all and
load the rest of itself beside it."""

from __future__ import annotations

import os
import signal
import socket
import sys

SOURCE_ROOT = __file__.rpartition("/engine/")[0]
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
"""What a starter may ignore, or catch, and its shim must not."""


def module_argv(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def module_environment() -> dict[str, str]:
    """All that a module of ours is told: nothing of its starter's environment."""
    return {"PATH": os.defpath, "PYTHONPATH": SOURCE_ROOT, "PYTHONSAFEPATH": "1", "LC_ALL": "C.UTF-8"}


def spawn_module(module: str, *arguments: str) -> int:
    """Start a module as a session leader with an environment of its own; its process id. Raises OSError."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return os.posix_spawn(
            sys.executable,
            module_argv(module, *arguments),
            module_environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)],
            setsid=True,
            setsigmask=(),
            setsigdef=RESET_SIGNALS,
        )
    finally:
        os.close(null)


def spawn_shim(*usual: str) -> tuple[int, socket.socket]:
    """Start a shim that waits for its plan: its process id and our end of the lifeline. `usual`, a home directory and a kind, is
    the machine that it is to start meanwhile (engine.shim.usual). Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        os.set_inheritable(theirs.fileno(), True)
        return spawn_module("engine.shim", str(theirs.fileno()), *usual), ours
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
