"""The head start of commands that start a box: its shim is spawned before anything else is loaded, and gets ready on
another processor meanwhile. A command that then starts nothing costs a process that ends by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

STARTING = ("run", "start", "restart")
_spawned: list[tuple[int, socket.socket]] = []


def begin(arguments: Sequence[str]) -> None:
    """Spawn a shim if the command line looks like one that starts a box. Where that fails, the start says why."""
    command = next((word for word in arguments if not word.startswith("-")), None)
    if command not in STARTING or {"--help", "-h"} & set(arguments[:3]):
        return
    from engine.shim.spawn import spawn_shim

    try:
        _spawned.append(spawn_shim())
    except OSError:
        return


def take() -> tuple[int, socket.socket] | None:
    """The shim that was spawned, once."""
    return _spawned.pop() if _spawned else None
