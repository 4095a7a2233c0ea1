"""Landlock: the same grants once more, enforced by another part of the kernel, and what namespaces leave open: TCP,
abstract sockets, signals (landlock(7); the kernel's Documentation/userspace-api/landlock.rst).
"""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import struct
from collections.abc import Iterable

from engine.jailer.grants import Access, Grant

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""The same numbers on every processor."""
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_CHANGES_OF_TREES = sum(1 << bit for bit in range(4, 13))  # REMOVE_DIR to MAKE_SYM
_NET_BIND_AND_CONNECT = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


@functools.cache
def landlock_abi() -> int:
    """The version of Landlock this kernel speaks; 0 where there is none."""
    return max(0, _syscall(CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))


def handled_rights(abi: int) -> int:
    """Every right on files this version knows: what no rule allows is refused."""
    rights = (1 << 13) - 1
    for needed, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        rights |= right if abi >= needed else 0
    return rights


def rights_of(grant: Grant, mode: int, abi: int) -> int:
    """What one grant allows. Programs may be started only where the grant says so; devices are never made."""
    rights = _READ_FILE
    if grant.executes:
        rights |= _EXECUTE
    if grant.access is not Access.READ:
        rights |= _WRITE_FILE | _TRUNCATE
    if grant.access is Access.DEVICE:
        rights |= _IOCTL_DEV
    if stat.S_ISDIR(mode):
        rights |= _READ_DIR
        if grant.access is Access.WRITE:
            rights |= (_CHANGES_OF_TREES | _REFER) & ~(_MAKE_CHAR | _MAKE_BLOCK)
    return rights & handled_rights(abi)


def open_ruleset(grants: Iterable[Grant], *, network: bool) -> int | None:
    """A descriptor of the rules for a process to restrict itself with; None where the kernel has no Landlock.

    `network`: TCP, and abstract sockets of others, stay as they are. Paths that are not there get no rule. Raises OSError.
    """
    abi = landlock_abi()
    if abi == 0:
        return None
    attributes = struct.pack(
        "<QQQ",
        handled_rights(abi),
        _NET_BIND_AND_CONNECT if abi >= 4 and not network else 0,
        _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
    )
    ruleset = _checked(_syscall(CREATE_RULESET, attributes, 8 if abi < 4 else 16 if abi < 6 else 24, 0))
    try:
        for grant in grants:
            _add(ruleset, grant, abi)
    except OSError:
        os.close(ruleset)
        raise
    return ruleset


def _add(ruleset: int, grant: Grant, abi: int) -> None:
    try:
        path = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights = rights_of(grant, os.fstat(path).st_mode, abi)
        _checked(_syscall(ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("<Qi", rights, path), 0))
    finally:
        os.close(path)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return int(_libc().syscall(ctypes.c_long(number), *words))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
