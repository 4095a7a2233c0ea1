"""How a base is made: archives or a directory in, a directory with the ext4, its empty overlay and a record out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from engine import process
from engine.disks.base import BASE_FORMAT, BASE_NAME, OVERLAY_NAME, RECORD_NAME
from engine.disks.emit import TreeSize, iter_fine_times, iter_xattrs, measure_tree, write_archive
from engine.disks.ext4 import (
    BLOCK_BYTES,
    build_debugfs,
    build_mke2fs,
    debugfs_error,
    mke2fs_error,
    shape_for,
    write_finishing_script,
)
from engine.disks.merge import Tree
from engine.disks.qcow2 import build_qemu_img_create
from engine.disks.spool import Spool, closing_all, spool_archive
from engine.errors import BoxliteError, ImageError, ResourceExhaustedError
from engine.fsutil import write_atomic
from engine.jailer.ownership import is_plain_file
from engine.model import RuntimeConfig
from engine.process import Command, Completed
from engine.progress import Progress, ProgressSink

_MKE2FS_LEAST_S = 120.0
_MKE2FS_BYTES_PER_S = 4 << 20
"""Slower than this, mke2fs is taken to hang."""
_UUID_NAMESPACE = uuid.UUID("b0b81d6f-3f6a-4a0e-9d6e-6a9a4f5f0c11")
_SPOOL_THREADS = 2

Wrap = Callable[[Command, Sequence[Path], Sequence[Path]], contextlib.AbstractAsyncContextManager[Command]]
"""What a program is started as instead, within the block: given the command, the directories of ours it works in, and those of the
person it copies."""


@contextlib.asynccontextmanager
async def no_wrap(
    command: Command, writes: Sequence[Path], reads: Sequence[Path] = ()
) -> AsyncIterator[Command]:
    """Run the command as it is."""
    yield command


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One layer: `digest` is the file's own, verified, `diff_id` that of what it decompresses to, where they are known;
    `what` names it in messages. `ready`: the file is there once this is set; None where it is."""

    path: Path
    digest: str | None
    diff_id: str | None
    what: str
    ready: asyncio.Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseBuild:
    """One base to make. The `from_` methods fill `scratch/KEY`, which the caller then renames to `target`."""

    what: str
    key: str
    size_gb: int
    config: RuntimeConfig
    progress: ProgressSink
    wrap: Wrap

    async def from_archives(self, archives: Sequence[Archive], scratch: Path, target: Path) -> None:
        """Lay the archives over one another, lowest first."""
        spools: list[Spool] = []
        with closing_all(spools):
            tree = await self._merged(archives, scratch, spools)
            need = await asyncio.to_thread(measure_tree, tree, BLOCK_BYTES)
            sources = [spool.fd for spool in spools]

            def write(fd: int) -> None:
                write_archive(tree, sources, fd)

            script = await asyncio.to_thread(
                write_finishing_script,
                _new_directory(scratch / "finishing"),
                keep_lost_found=tree.find(b"lost+found") is not None,
                xattrs=iter_xattrs(tree),
                times=iter_fine_times(tree),
            )
            await self._make(scratch, target, need, script, write=write)

    async def from_directory(self, directory: Path, scratch: Path, target: Path) -> None:
        """Copy a directory of the host. Links are copied, not followed."""
        need = await asyncio.to_thread(_measure_directory, directory)
        keep = (directory / "lost+found").exists()
        script = write_finishing_script(_new_directory(scratch / "finishing"), keep_lost_found=keep)
        await self._make(scratch, target, need, script, directory=directory)

    async def _merged(self, archives: Sequence[Archive], scratch: Path, spools: list[Spool]) -> Tree:
        tree = Tree()
        cancelled = Event()
        loop = asyncio.get_running_loop()

        async def spooled(archive: Archive) -> Spool:
            if archive.ready is not None:
                await archive.ready.wait()
            running = loop.run_in_executor(pool, self._spool, archive, scratch, cancelled)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                with contextlib.suppress(BoxliteError):
                    (await running).close()
                raise

        with ThreadPoolExecutor(_SPOOL_THREADS) as pool:
            jobs = [asyncio.create_task(spooled(archive)) for archive in archives]
            try:
                for number, (archive, job) in enumerate(zip(archives, jobs, strict=True)):
                    spool = await job
                    spools.append(spool)
                    await asyncio.to_thread(tree.apply, number, spool.entries, what=archive.what)
                    spool.entries.clear()
                    self.progress(
                        Progress(stage="base", item=self.what, done=number + 1, total=len(archives))
                    )
            except BaseException:
                cancelled.set()
                left = jobs[len(spools) :]
                for job in left:
                    job.cancel()
                ends = await asyncio.gather(*left, return_exceptions=True)
                spools += [end for end in ends if isinstance(end, Spool)]
                raise
        return tree

    def _spool(self, archive: Archive, scratch: Path, cancelled: Event) -> Spool:
        return spool_archive(
            archive.path,
            scratch,
            limit_bytes=self.config.max_layer_decompressed_bytes,
            what=archive.what,
            digest=archive.digest,
            diff_id=archive.diff_id,
            cancelled=cancelled,
        )

    async def _make(
        self,
        scratch: Path,
        target: Path,
        need: TreeSize,
        script: Path | None,
        *,
        write: Callable[[int], None] | None = None,
        directory: Path | None = None,
    ) -> None:
        made = _new_directory(scratch / self.key)
        base, overlay = (_new_directory(scratch / "work" / name) / name for name in (BASE_NAME, OVERLAY_NAME))
        shape = shape_for(need, size_gb=self.size_gb, uuid=str(uuid.uuid5(_UUID_NAMESPACE, self.key)))
        self._check_room(scratch, need)
        filling = self._fill(
            base,
            build_mke2fs(base, shape, str(directory) if directory else "-"),
            need,
            script,
            write,
            directory,
        )
        making = self._make_overlay(
            overlay.parent, build_qemu_img_create(overlay, target / BASE_NAME, shape.size_bytes)
        )
        for failure in await asyncio.gather(filling, making, return_exceptions=True):
            if failure is not None and isinstance(failure, BaseException):
                raise failure
        for file in (base, overlay):
            if not is_plain_file(file):
                raise ImageError(f"making the disk of {self.what}: {file.name} came out as something else")
            file.chmod(0o400)
            file.rename(made / file.name)
        record = {
            "format": BASE_FORMAT,
            "source": self.what,
            "size_bytes": shape.size_bytes,
            "uuid": shape.uuid,
        }
        write_atomic(made / RECORD_NAME, json.dumps(record, indent=2).encode() + b"\n", mode=0o400)

    async def _fill(
        self,
        base: Path,
        mke2fs: Command,
        need: TreeSize,
        script: Path | None,
        write: Callable[[int], None] | None,
        directory: Path | None,
    ) -> None:
        """Make the ext4 and finish it."""
        timeout_s = _MKE2FS_LEAST_S + need.blocks * BLOCK_BYTES / _MKE2FS_BYTES_PER_S
        async with self.wrap(mke2fs, [base.parent], [directory] if directory else []) as command:
            if write is None:
                completed = await process.run(command, timeout_s=timeout_s, check=False)
            else:
                completed = await _run_fed(command, write, timeout_s)
        if completed.exit_status != 0:
            raise mke2fs_error(completed, what=self.what)
        if script is not None:
            async with self.wrap(build_debugfs(base, script), [base.parent, script.parent], []) as command:
                finished = await process.run(command, timeout_s=timeout_s, check=False)
            if failure := debugfs_error(finished, what=self.what):
                raise failure

    async def _make_overlay(self, directory: Path, qemu_img: Command) -> None:
        async with self.wrap(qemu_img, [directory], []) as command:
            await process.run(command)

    def _check_room(self, scratch: Path, need: TreeSize) -> None:
        free, wanted = shutil.disk_usage(scratch).free, need.blocks * BLOCK_BYTES
        if wanted > free:
            raise ResourceExhaustedError(
                f"the disk of {self.what} needs {wanted >> 20} MiB, but {free >> 20} MiB are free",
                hint="free disk space (`boxlite df` shows what is used, `boxlite system prune` frees it) and try again",
            )


async def _run_fed(command: Command, write: Callable[[int], None], timeout_s: float) -> Completed:
    """Run a command whose stdin is what `write` puts into a pipe, in a thread beside it."""
    read_end, write_end = os.pipe()

    def feed() -> None:
        try:
            write(write_end)
        finally:
            os.close(write_end)

    feeding = asyncio.get_running_loop().run_in_executor(None, feed)
    try:
        completed = await process.run(command, stdin=read_end, timeout_s=timeout_s, check=False)
    finally:
        os.close(read_end)  # a feeder that is still writing gets EPIPE now
        fed = (await asyncio.gather(feeding, return_exceptions=True))[0]
    if isinstance(fed, BaseException) and not isinstance(fed, BrokenPipeError):
        raise fed
    return completed


def _new_directory(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True)
    return path


def _measure_directory(directory: Path) -> TreeSize:
    inodes, blocks = 1, 2
    pending = [directory]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                inodes += 1
                blocks += 2 + -(-entry.stat(follow_symlinks=False).st_size // BLOCK_BYTES)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
    return TreeSize(inodes=inodes, blocks=blocks)
