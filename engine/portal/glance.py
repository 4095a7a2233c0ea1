"""The names in a directory of a running box, as fast as they can be had: somebody has pressed the tab key.

The box's shim is asked, which has a line to the agent: nothing has to be loaded for that, and no process be made. Whatever
goes wrong on the way, there are no names then.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from engine.sockets import connect_unix

_MOST_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16


def glance_directory(shim_socket: str, directory: str, beginning: str, *, patience_s: float) -> list[str]:
    """The names in the directory that begin so, as root of the box sees it, in no order; a directory's with a slash at
    its end. Empty where that cannot be told within `patience_s`."""
    question = {"op": "names", "directory": directory, "beginning": beginning}
    try:
        with connect_unix(Path(shim_socket), timeout_s=patience_s) as stream:
            stream.sendall(json.dumps(question).encode() + b"\n")
            answer = json.loads(_line(stream))
    except (OSError, ValueError):
        return []
    found = answer.get("names") if isinstance(answer, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _line(stream: socket.socket) -> bytes:
    """What the shim says until its end or the line's. Raises OSError when nothing comes for too long."""
    received = b""
    while not received.endswith(b"\n") and len(received) < _MOST_BYTES:
        piece = stream.recv(_PIECE_BYTES)
        if not piece:
            break
        received += piece
    return received
