"""Mounting, through the C library: no program has to be started for it (mount(2))."""

from __future__ import annotations

import ctypes
import fcntl
import os

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_CLONE_NEWNS = 0x20000
_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Raises OSError naming the target."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(result, target)


def unmount(target: str) -> None:
    """Raises OSError; EBUSY when something still uses it."""
    _check(_libc.umount2(os.fsencode(target), 0), target)


def sync_file_system(path: str) -> None:
    """Write everything of the file system at `path` to its disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _check(_libc.syncfs(fd), path)
    finally:
        os.close(fd)


def freeze(path: str) -> None:
    """Write everything to disk and hold all further writes until `thaw` (ioctl_fsfreeze)."""
    _freeze_ioctl(path, _FIFREEZE)


def thaw(path: str) -> None:
    _freeze_ioctl(path, _FITHAW)


def enter_mount_namespace(pid: int) -> None:
    """See the mounts another process sees; this process's root becomes that namespace's (setns(2))."""
    fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    try:
        _check(_libc.setns(fd, _CLONE_NEWNS), f"/proc/{pid}/ns/mnt")
    finally:
        os.close(fd)


def _freeze_ioctl(path: str, request: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, request, 0)
    finally:
        os.close(fd)


def _check(result: int, target: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
