"""Directories of a person, shown to a box's own user as if they were its own: what it makes there belongs to the person.

Idmapped mounts (mount_setattr(2), Linux ≥ 5.12; the kernel's Documentation/filesystems/idmappings.rst), in a mount
namespace of the jailed process alone. Only root can make them, and only root needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import struct
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import JailError
from engine.jailer.grants import Grant, Identity, Jail
from engine.process import Command, get_program, start, terminate

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""The same numbers on every processor."""
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x00100000
_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_SLAVE = 0x4000, 1 << 19
_NAMESPACE_TIMEOUT_S = 5.0
_HINT = (
    "put the directory on a file system that can be shown under other ids (ext4, xfs, btrfs, tmpfs …); or let the"
    " machine run as root, by name: SecurityOptions(uid=0, gid=0)"
)


@contextlib.asynccontextmanager
async def shown_as_own(jail: Jail, place: Path) -> AsyncIterator[Jail]:
    """The same jail, in which the person's directories appear as its user's own. `place` is a directory for the mounts,
    which the jail's process alone sees: in it they are, on the host it stays empty. Raises JailError."""
    foreign = [grant for grant in jail.grants if grant.foreign]
    if jail.identity is None or not foreign:
        yield jail
        return
    ids = await _ids_of(jail.identity)
    try:
        shown, mounts = await asyncio.to_thread(_mount_all, foreign, place, ids)
    except OSError as error:
        raise JailError(
            f"a volume cannot be shown to the box's own user: {error.filename or ''} {error.strerror}",
            hint=_HINT,
        ) from error
    finally:
        os.close(ids)
    try:
        grants = tuple(shown.get(grant, grant) for grant in jail.grants)
        yield replace(jail, grants=grants, mount_namespace=mounts)
    finally:
        os.close(mounts)


async def _ids_of(identity: Identity) -> int:
    """A user namespace in which our ids are the box's, as a descriptor. It needs a process to be made in, for a moment
    (unshare(1), util-linux)."""
    process = await start(
        Command(argv=(get_program("unshare"), "--user", "sleep", "60")), log_path=Path(os.devnull)
    )
    try:
        there = Path(f"/proc/{process.pid}")
        own = Path("/proc/self/ns/user").stat().st_ino
        async with asyncio.timeout(_NAMESPACE_TIMEOUT_S):
            while (there / "ns/user").stat().st_ino == own:  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # a namespace's birth cannot be waited for
        (there / "uid_map").write_text(f"{os.geteuid()} {identity.uid} 1")
        (there / "gid_map").write_text(f"{os.getegid()} {identity.gid} 1")
        return os.open(there / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, TimeoutError) as error:
        raise JailError(f"no user namespace could be made: {error}", hint=_HINT) from error
    finally:
        await terminate(process, grace_s=0)


def _mount_all(grants: Sequence[Grant], place: Path, ids: int) -> tuple[dict[Grant, Grant], int]:
    """The grants as they are to be shown, and the mount namespace in which they are there, as a descriptor.

    Only for a thread that ends afterwards: it leaves our mount namespace, and nothing else of ours must ever look, let
    alone remove something, where the person's own files are mounted.
    """
    left: list[tuple[dict[Grant, Grant], int] | BaseException] = []

    def leave_and_mount() -> None:
        try:
            place.mkdir(mode=0o700, exist_ok=True)
            _checked(_libc().unshare(_CLONE_NEWNS), "/")
            _checked(_libc().mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None), "/")
            shown = {grant: _mount(grant, place / str(number), ids) for number, grant in enumerate(grants)}
            left.append((shown, os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)))
        except BaseException as error:
            left.append(error)

    thread = threading.Thread(target=leave_and_mount)
    thread.start()
    thread.join()
    if isinstance(left[0], BaseException):
        raise left[0]
    return left[0]


def _mount(grant: Grant, target: Path, namespace: int) -> Grant:
    if Path(grant.path).is_dir():
        target.mkdir(mode=0o700, exist_ok=True)
    else:
        target.touch(mode=0o600)
    path = os.fsencode(grant.path)
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    tree = _checked(_syscall(_OPEN_TREE, _AT_FDCWD, path, flags), grant.path)
    try:
        attributes = struct.pack("<QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, namespace)
        recursively = _AT_EMPTY_PATH | _AT_RECURSIVE
        _checked(_syscall(_MOUNT_SETATTR, tree, b"", recursively, attributes, len(attributes)), grant.path)
        moved = _syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        _checked(moved, grant.path)
    finally:
        os.close(tree)
    return replace(grant, mounted_at=str(target))


def _syscall(number: int, *arguments: int | bytes) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return int(_libc().syscall(ctypes.c_long(number), *words))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, path: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
