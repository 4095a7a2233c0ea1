"""Landlock: the same grants once more, enforced by another part of the kernel, and what namespaces leave open: TCP,
abstract sockets, signals (landlock(7); the kernel's Documentation/userspace-api/landlock.rst).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.fsutil import write_atomic
from engine.jailer.grants import Access, Grant

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""The same numbers on every processor."""
_CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_CHANGES_OF_TREES = sum(1 << bit for bit in range(4, 13))  # REMOVE_DIR to MAKE_SYM
RULE_NET_PORT = 2
NETWORK_ABI = 4
"""The first version that knows TCP."""
_NET_BIND, _NET_CONNECT = 0b01, 0b10
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def landlock_abi(cache_dir: Path | None = None) -> int:
    """The version of Landlock this kernel speaks; 0 where there is none. Asked once per kernel, if there is a directory to
    note the answer in: asking takes loading ctypes."""
    note = None if cache_dir is None else cache_dir / f"landlock-{os.uname().release}"
    if note is not None:
        try:
            return int(note.read_text())
        except (OSError, ValueError):
            pass
    import ctypes

    answer = int(
        ctypes.CDLL(None).syscall(
            ctypes.c_long(CREATE_RULESET), None, ctypes.c_long(0), ctypes.c_long(_CREATE_RULESET_VERSION)
        )
    )
    if note is not None:
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(note, b"%d" % max(0, answer))
    return max(0, answer)


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


def ruleset_attributes(abi: int, *, network: bool, files: bool = True, binds_any: bool = True) -> bytes:
    """A `struct landlock_ruleset_attr` of the size that version knows; empty where it would hold nothing. `network`: TCP
    stays as it is, but for ports to listen on without `binds_any`. `files` False: files stay as they are."""
    tcp = 0 if network else _NET_BIND | _NET_CONNECT
    tcp |= 0 if binds_any else _NET_BIND
    attributes = struct.pack(
        "<QQQ", handled_rights(abi) if files else 0, tcp, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS
    )
    known = attributes[: 8 if abi < 4 else 16 if abi < 6 else 24]
    return known if any(known) else b""


def path_rules(grants: Iterable[Grant], abi: int) -> Iterator[tuple[str, int]]:
    """Each path as the jail has it, and the rights below it. What is not there gets no rule."""
    for grant in grants:
        try:
            mode = Path(grant.mounted_at or grant.path).stat().st_mode
        except FileNotFoundError:
            continue
        yield grant.inside, rights_of(grant, mode, abi)


def bind_attributes(port: int) -> bytes:
    """A `struct landlock_net_port_attr` that lets a TCP port be bound; 0 stands for one that the kernel chooses."""
    return struct.pack("<QQ", _NET_BIND, port)


def path_attributes(rights: int, fd: int) -> bytes:
    """A `struct landlock_path_beneath_attr`."""
    return struct.pack("<Qi", rights, fd)
