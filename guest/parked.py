"""A crun that was started before anybody knew what it would run, and waits for its configuration.

Starting a program is dear in an emulated processor: crun has been loaded, linked and has read its command line when the
template is saved, and in every machine restored from it goes on from there. It waits in the opening of its configuration
file, which is a FIFO; once it has opened that, the file's name means a regular one, for crun reads it twice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

_START_TIMEOUT_S = 5.0
_WAITS_IN = ("fifo_open", "wait_for_partner")
"""Kernel functions in which the opening of a FIFO waits for its other end (fs/pipe.c)."""


def feed(path: Path, content: bytes) -> bool:
    """Give its configuration to the one that waits at `path`. False when nobody does."""
    whole = path.with_suffix(".whole")
    whole.write_bytes(content)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    try:
        whole.rename(path)
        with contextlib.suppress(PermissionError):  # beyond what a pipe may be: then it is written in pieces
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, max(len(content), 4096))
        os.set_blocking(fd, True)
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    return True


def make_parking_place(path: Path) -> None:
    """The FIFO that is read instead of a configuration."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    os.mkfifo(path, 0o600)


def wait_until_parked(pid: int) -> bool:
    """Block until the process waits for its configuration. False when it does not come to that."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    place = Path(f"/proc/{pid}/wchan")
    while time.monotonic() < deadline:
        try:
            if place.read_text().startswith(_WAITS_IN):
                return True
        except OSError:
            return False
        time.sleep(0.01)
    return False
