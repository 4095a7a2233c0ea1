"""Reading a container's files without being led out of them by links.

openat2(2) with RESOLVE_IN_ROOT resolves every path, `..` and absolute links included, as if the given directory were
the root. The system call's number is the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_openat2 = _libc["syscall"]  # one of its own, which is told once what it takes
_openat2.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_openat2.restype = ctypes.c_long
_OPEN_ANY = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
_ANY_FILE, _ANY_FILE_BYTES = ctypes.addressof(_OPEN_ANY), ctypes.sizeof(_OPEN_ANY)


def open_in_root(root_fd: int, path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """Open `path` below the directory `root_fd` as if that were `/`. Raises OSError."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path)
    fd = _libc.syscall(
        _OPENAT2, root_fd, ctypes.c_char_p(name), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(name))
    return int(fd)


def read_in_root(root_fd: int, path: str, *, limit: int = 4 << 20) -> bytes:
    """The first `limit` bytes of a file below `root_fd`; empty when it is not there."""
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    with open(fd, "rb") as file:
        return file.read(limit)


def is_directory_in_root(root_fd: int, path: str) -> bool:
    try:
        os.close(open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def exists_in_root(root_fd: int, path: str) -> bool:
    try:
        os.close(open_in_root(root_fd, path, os.O_PATH))
    except OSError:
        return False
    return True


def find_executable_in_root(root_fd: int, paths: Iterable[str]) -> str | None:
    """The first of `paths` that is a file which somebody may execute."""
    for path in paths:
        fd = _openat2(_OPENAT2, root_fd, os.fsencode(path), _ANY_FILE, _ANY_FILE_BYTES)
        if fd >= 0:
            mode = os.fstat(fd).st_mode
            os.close(fd)
            if stat.S_ISREG(mode) and mode & 0o111:
                return path
    return None


def make_directories_in_root(root_fd: int, path: str) -> None:
    """Make a directory and those above it below `root_fd`, owned by root. What is there stays."""
    done = ""
    for part in (part for part in path.split("/") if part):
        parent = open_in_root(root_fd, done or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            if not exists_in_root(root_fd, f"{done}/{part}"):
                os.mkdir(part, 0o755, dir_fd=parent)
        finally:
            os.close(parent)
        done = f"{done}/{part}"
