"""Unix sockets whatever the length of their path: addresses end at 107 bytes (unix(7)), homes need not. On Linux a
socket is reached through a descriptor of its directory."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

SHORT_ENOUGH_BYTES = 100
BACKLOG = 16


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) < SHORT_ENOUGH_BYTES or not hasattr(os, "O_PATH"):
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen_unix(path: Path) -> socket.socket:
    """A listening stream socket at `path`, replacing what an earlier owner left there."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _address(path) as address:
        listener.bind(address)
    listener.listen(BACKLOG)
    return listener


def connect_unix(path: Path, *, timeout_s: float | None = None) -> socket.socket:
    """Connect to the stream socket at `path`. Raises OSError when nobody listens."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(timeout_s)
    try:
        with _address(path) as address:
            stream.connect(address)
    except OSError:
        stream.close()
        raise
    return stream
