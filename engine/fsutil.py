"""Files that are whole or not there: atomic writes, locks that die with their holder."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from engine.errors import (
    BoxliteError,
    DeniedError,
    IsDirectoryError,
    NotDirectoryError,
    ReadOnlyError,
    ResourceExhaustedError,
    StorageError,
)


def storage_error(error: OSError, doing: str) -> BoxliteError:
    """Translate an OSError met while `doing` something to a path."""
    path = f" {error.filename}" if error.filename else ""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhaustedError(
            f"{doing}{path}: {reason}",
            hint="free disk space (`boxlite df` shows what is used, `boxlite system prune` frees it) and try again",
        )
    if error.errno == errno.EROFS:
        return ReadOnlyError(f"{doing}{path}: {reason}", hint="name a directory that can be written to")
    if error.errno in (errno.EACCES, errno.EPERM):
        return DeniedError(f"{doing}{path}: {reason}", hint="check who owns the path and its mode")
    kind = {errno.EISDIR: IsDirectoryError, errno.ENOTDIR: NotDirectoryError}.get(
        error.errno or 0, StorageError
    )
    return kind(f"{doing}{path}: {reason}")


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Replace `path` by `data` in one step; a reader sees the old or the new, never a part."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take the lock at `path` and return its descriptor, or None when another process holds it.

    The lock ends when the descriptor is closed, at the latest with the process.
    """
    flags = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, flags | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if _is_still(fd, path):
            return fd
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[int]:
    """Hold the lock at `path`, waiting for it. Blocks: call it in a thread from async code, or `try_lock`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, flags)
        if _is_still(fd, path):
            break
        os.close(fd)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.asynccontextmanager
async def hold_lock(path: Path, *, shared: bool = False) -> AsyncIterator[int]:
    """Hold the lock at `path` from async code. Waiting can be cancelled; there is no deadline, since the holder's end
    frees the lock. flock(2) cannot be waited for without a thread, so it is tried again and again, ever less often."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    delay_s = 0.002
    while (fd := try_lock(path, shared=shared)) is None:
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 1.5, 0.1)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_still(fd: int, path: Path) -> bool:
    """A lock file may have been removed between open and lock; then the lock is on nothing."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


@contextlib.contextmanager
def scratch_dir(parent: Path, prefix: str) -> Iterator[Path]:
    """A temporary directory below `parent`, gone at the end whatever happens."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield directory
    finally:
        remove_tree(directory)


def remove_tree(path: Path) -> None:
    """Remove a directory tree; one that is not there is fine. Links are removed, never followed."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, "removing") from error


def discard_tree(path: Path, trash: Path) -> None:
    """Remove a tree that others may be looking into: it leaves its place in one step and is deleted from `trash`, a
    directory on the same file system. One that is not there is fine."""
    target = trash / f"{path.name}.{os.getpid()}.gone"
    try:
        trash.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(target)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, "removing") from error
    remove_tree(target)


def tail_lines(path: Path, *, limit_bytes: int = 4096) -> list[str]:
    """The last lines of a log a stranger may have written to: no control characters, nothing when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit_bytes))
            text = file.read(limit_bytes).decode("utf-8", "replace")
    except OSError:
        return []
    lines = ("".join(c for c in line if c.isprintable()).strip() for line in text.splitlines())
    return [line for line in lines if line]


def disk_usage_bytes(path: Path) -> int:
    """What a file or tree takes on disk (allocated blocks, sparse parts not counted)."""
    try:
        total = path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
    if path.is_dir() and not path.is_symlink():
        for entry in path.iterdir():
            total += disk_usage_bytes(entry)
    return total
