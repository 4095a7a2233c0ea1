"""How a base is made: archives or a directory in, a directory with the ext4, its empty overlay and a record out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from engine.disks.base import BASE_FORMAT, BASE_NAME, OVERLAY_NAME, RECORD_NAME
from engine.disks.ext4_plan import TreeSize, number_tree, shape_for
from engine.disks.ext4_records import BLOCK_BYTES
from engine.disks.ext4_writer import write_ext4
from engine.disks.growing import GrowingFile
from engine.disks.merge import Tree
from engine.disks.qcow2 import write_empty_overlay
from engine.disks.sources import Source
from engine.disks.spool import Spool, spool_archive
from engine.errors import BoxliteError, ResourceExhaustedError
from engine.fsutil import write_atomic
from engine.model import RuntimeConfig
from engine.progress import Progress, ProgressSink
from engine.values import dataclass

_UUID_NAMESPACE = uuid.UUID("b0b81d6f-3f6a-4a0e-9d6e-6a9a4f5f0c11")
_SPOOL_THREADS = 4
"""As many as layers are fetched at once: each waits for what it follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One layer: `digest` is the file's own, verified, `diff_id` that of what it decompresses to, where they are known;
    `what` names it in messages. `growing`: how far the file is; None where it is whole."""

    path: Path
    digest: str | None
    diff_id: str | None
    what: str
    growing: GrowingFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseBuild:
    """One base to make. The `from_` methods fill `scratch/KEY`, which the caller then renames to `target`."""

    what: str
    key: str
    size_gb: int
    config: RuntimeConfig
    progress: ProgressSink

    async def from_archives(self, archives: Sequence[Archive], scratch: Path, target: Path) -> None:
        """Lay the archives over one another, lowest first."""
        spools: list[Spool] = []
        try:
            tree = await self._merged(archives, scratch, spools)
            await _in_thread(lambda cancelled: self._make(tree, spools, scratch, target, cancelled))
        finally:
            for spool in spools:
                spool.close()

    async def from_directory(self, directory: Path, scratch: Path, target: Path) -> None:
        """Copy a directory of the host. Links are copied, not followed."""
        from engine.disks.directory import DirectorySource

        with contextlib.closing(DirectorySource(directory)) as source:
            await _in_thread(
                lambda cancelled: self._make(source.scan(), [source], scratch, target, cancelled)
            )

    async def _merged(self, archives: Sequence[Archive], scratch: Path, spools: list[Spool]) -> Tree:
        tree = Tree()
        cancelled = Event()
        loop = asyncio.get_running_loop()

        async def spooled(archive: Archive) -> Spool:
            if archive.growing is not None:
                await archive.growing.begun.wait()
            running = loop.run_in_executor(pool, self._spool, archive, scratch, cancelled)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                if archive.growing is not None:
                    archive.growing.give_up()
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
            growing=archive.growing,
        )

    def _make(
        self, tree: Tree, sources: Sequence[Source], scratch: Path, target: Path, cancelled: Event
    ) -> None:
        """Blocks."""
        made = scratch / self.key
        made.mkdir(mode=0o700)
        base, overlay = made / BASE_NAME, made / OVERLAY_NAME
        need = number_tree(tree)
        shape = shape_for(need, size_gb=self.size_gb, uuid=uuid.uuid5(_UUID_NAMESPACE, self.key))
        self._check_room(scratch, need)
        write_ext4(tree, sources, base, shape, cancelled)
        write_empty_overlay(overlay, target / BASE_NAME, shape.size_bytes)
        base.chmod(0o400)
        overlay.chmod(0o400)
        record = {
            "format": BASE_FORMAT,
            "source": self.what,
            "size_bytes": shape.size_bytes,
            "uuid": str(shape.uuid),
        }
        write_atomic(made / RECORD_NAME, json.dumps(record, indent=2).encode() + b"\n", mode=0o400)

    def _check_room(self, scratch: Path, need: TreeSize) -> None:
        free, wanted = shutil.disk_usage(scratch).free, need.blocks * BLOCK_BYTES
        if wanted > free:
            raise ResourceExhaustedError(
                f"the disk of {self.what} needs {wanted >> 20} MiB, but {free >> 20} MiB are free",
                hint="free disk space (`boxlite df` shows what is used, `boxlite system prune` frees it) and try again",
            )


async def _in_thread(work: Callable[[Event], None]) -> None:
    """Do `work` beside the loop. When this is cancelled, the event is set, and what `work` uses is not touched before it has
    ended."""
    cancelled = Event()
    running = asyncio.get_running_loop().run_in_executor(None, work, cancelled)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        cancelled.set()
        with contextlib.suppress(BoxliteError, OSError):
            await running
        raise
