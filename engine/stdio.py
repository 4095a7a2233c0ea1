"""Bytes between a command in a box and our own standard streams: unchanged, with back-pressure, and without threads, so
that neither a reader who stopped reading nor a keyboard nobody types on can delay our exit.

A descriptor may be shared with other processes, so it is never made non-blocking: we ask whether it is ready, and write no
more at a time than a ready pipe is sure to take.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

from engine.fsutil import storage_error

PIPE_BYTES = min(select.PIPE_BUF, 4096)
"""A pipe that is ready for writing takes this much at once (POSIX, write(): PIPE_BUF)."""

_NAMES = {1: "output", 2: "error"}
FILE_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024


async def copy_to_fd(chunks: AsyncIterable[bytes], fd: int) -> None:
    """Write every chunk to `fd`. Raises BrokenPipeError when nobody reads it any more."""
    async for chunk in chunks:
        await write_all(fd, chunk)


async def write_all(fd: int, chunk: bytes) -> None:
    """Raises BrokenPipeError when nobody reads `fd`, StorageError or ResourceExhaustedError when it cannot be written."""
    piece = FILE_BYTES if stat.S_ISREG(os.fstat(fd).st_mode) else PIPE_BYTES
    rest = memoryview(chunk)
    while rest:
        if not _is_ready(fd, writing=True):
            await _until_ready(fd, writing=True)
        try:
            rest = rest[os.write(fd, rest[:piece]) :]
        except BlockingIOError:
            await asyncio.sleep(0)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise storage_error(error, f"writing standard {_NAMES.get(fd, 'stream')}") from error


async def read_chunks(fd: int) -> AsyncIterator[bytes]:
    """What can be read from `fd`, as it comes, until its end."""
    while True:
        if not _is_ready(fd, writing=False):
            await _until_ready(fd, writing=False)
        try:
            chunk = os.read(fd, READ_BYTES)
        except BlockingIOError:
            await asyncio.sleep(0)
            continue
        if not chunk:
            return
        yield chunk
        await asyncio.sleep(0)


async def copy_file(path: Path, fd: int) -> None:
    """Write a file to `fd`."""
    with path.open("rb") as file:
        while chunk := file.read(FILE_BYTES):
            await write_all(fd, chunk)


def _is_ready(fd: int, *, writing: bool) -> bool:
    waiting: list[int] = []
    ready = select.select(waiting, [fd], waiting, 0) if writing else select.select([fd], waiting, waiting, 0)
    return bool(ready[1 if writing else 0])


async def _until_ready(fd: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    if writing:
        loop.add_writer(fd, wake)
    else:
        loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        if writing:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)
