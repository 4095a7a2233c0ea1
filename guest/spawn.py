"""Starting a process inside a cgroup, without a moment outside of it.

glibc's posix_spawn can do that since 2.39 (POSIX_SPAWN_SETCGROUP), Python's cannot yet. It neither copies this process's
page tables, as fork would, nor needs a shell that moves itself, as a group's file would.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
from collections.abc import Sequence

_SETSIGDEF, _SETSIGMASK, _SETCGROUP = 0x04, 0x08, 0x100
_OPAQUE_BYTES = 1024
"""More than any of glibc's opaque types takes (posix_spawnattr_t: 336)."""

_DEFAULTED = (signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ)

_libc = ctypes.CDLL(None, use_errno=True)


def spawn_in_cgroup(
    argv: Sequence[str],
    env: Sequence[str],
    *,
    cgroup_fd: int,
    stdin: int | None,
    stdout: int | None,
    stderr: int | None,
    keep: Sequence[int] = (),
) -> int:
    """Start `argv` (an absolute path first) with `env` (KEY=VALUE) and return its id; a stream that is None is /dev/null, the
    descriptors to `keep` keep their numbers. Raises OSError."""
    actions = ctypes.create_string_buffer(_OPAQUE_BYTES)
    attributes = _attributes()
    _check(_libc.posix_spawn_file_actions_init(actions))
    try:
        for number, fd in enumerate((stdin, stdout, stderr)):
            if fd is None:
                flags = os.O_RDONLY if number == 0 else os.O_WRONLY
                _check(_libc.posix_spawn_file_actions_addopen(actions, number, b"/dev/null", flags, 0))
            else:
                _check(_libc.posix_spawn_file_actions_adddup2(actions, fd, number))
        for fd in keep:  # onto itself: it is then not closed (posix_spawn_file_actions_adddup2(3))
            _check(_libc.posix_spawn_file_actions_adddup2(actions, fd, fd))
        _check(_libc.posix_spawnattr_setcgroup_np(attributes, cgroup_fd))
        pid = ctypes.c_int()
        with _without_protection:
            number = _libc.posix_spawn(
                ctypes.byref(pid), os.fsencode(argv[0]), actions, attributes, _strings(argv),
                _strings(env),
            )  # fmt: skip
        _check(number, argv[0])
        return pid.value
    finally:
        _libc.posix_spawn_file_actions_destroy(actions)


@functools.cache
def _attributes() -> ctypes.Array[ctypes.c_char]:
    """What is the same for all, made once: nothing but the group is changed before each start."""
    attributes = ctypes.create_string_buffer(_OPAQUE_BYTES)
    signals = ctypes.create_string_buffer(_OPAQUE_BYTES)
    _check(_libc.posix_spawnattr_init(attributes))
    _libc.sigemptyset(signals)
    _check(_libc.posix_spawnattr_setsigmask(attributes, signals))
    for signum in _DEFAULTED:
        _libc.sigaddset(signals, int(signum))
    _check(_libc.posix_spawnattr_setsigdefault(attributes, signals))
    _check(_libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETCGROUP)))
    return attributes


class _WithoutProtection:
    """Start children that the kernel may kill when memory runs out: they inherit the value this process has at that
    moment, and crun sets only that of a container's first process (proc_pid_oom_score_adj(5)). The file stays open."""

    def __init__(self) -> None:
        self._fd = -1

    def __enter__(self) -> None:
        if self._fd < 0:
            self._fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        self._own = os.pread(self._fd, 16, 0)
        os.pwrite(self._fd, b"0", 0)

    def __exit__(self, *_: object) -> None:
        os.pwrite(self._fd, self._own, 0)


_without_protection = _WithoutProtection()


def _strings(words: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    """A NULL-terminated array of C strings."""
    return (ctypes.c_char_p * (len(words) + 1))(*(os.fsencode(word) for word in words), None)


def _check(number: int, name: str = "") -> None:
    """These functions return the error instead of setting errno."""
    if number:
        raise OSError(number, os.strerror(number), name or None)
