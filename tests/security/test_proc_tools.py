"""What /proc says of the programs that make disks while they run, compared with what engine/jailer/THREAT_MODEL.md promises,
and what of their work is taken.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.disks.base import ensure_base_from_rootfs
from engine.disks.emit import TreeSize
from engine.disks.ext4 import build_mke2fs, shape_for
from engine.disks.tooljail import MEMORY_BYTES, READS_OF_OTHERS, THREADS, ToolJail
from engine.errors import ImageError
from engine.jailer.grants import DEVICES
from engine.jailer.identity import FIRST_ID
from engine.layout import Layout
from engine.process import Command, find_program
from tests.framework.ext4 import Ext4Image
from tests.framework.home import layout
from tests.framework.proc import NAMESPACES, NO_CAPABILITY, Process, descendants

__all__ = ["layout"]
pytestmark = pytest.mark.skipif(find_program("bwrap") is None, reason="bubblewrap is not installed")
DAC_READ_SEARCH = f"{1 << 2:016x}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is compared, copied while the program lives."""

    process: Process
    capabilities: dict[str, str]
    seccomp: tuple[str, str]
    status: dict[str, str]
    shared: set[str]
    limits: dict[str, str]
    descriptors: list[str]
    mounts: dict[str, str]
    writable: set[str]

    @classmethod
    def of(cls, process: Process) -> Seen:
        return cls(
            process, process.capabilities, process.seccomp, process.status, process.shared_namespaces,
            process.limits, process.descriptors, process.mounts, process.writable_mounts,
        )  # fmt: skip


def tool(name: str, work: Path) -> Command:
    """mke2fs that waits for the rest of its archive; a program in qemu-img's place, which is too quick to be looked at."""
    if name == "mke2fs":
        shape = shape_for(
            TreeSize(inodes=8, blocks=8), size_gb=1, uuid="00000000-0000-0000-0000-000000000001"
        )
        return build_mke2fs(work / "disk", shape, "-")
    return Command(argv=("sleep", "600"))


@asynccontextmanager
async def running(
    command: Command, home: Path, writes: Sequence[Path], reads: Sequence[Path]
) -> AsyncIterator[Seen]:
    """The program, once it stands in its jail with a filter."""
    read_end, write_end = os.pipe()
    try:
        async with ToolJail(home=home)(command, writes, reads) as wrapped:
            process = await asyncio.create_subprocess_exec(
                *wrapped.argv, stdin=read_end, pass_fds=wrapped.pass_fds, env=dict(command.env)
            )
            try:
                yield Seen.of(await in_its_jail(process.pid, Path(command.argv[0]).name))
            finally:
                process.kill()
                await process.wait()
                os.close(write_end)
    finally:
        os.close(read_end)


def is_at_work(process: Process) -> bool:
    """It waits, and its loader has closed the last library."""
    waits = process.status["State"].startswith("S")
    return waits and not any(".so" in path for path in process.descriptors)


async def in_its_jail(pid: int, name: str) -> Process:
    async with asyncio.timeout(30):
        while True:
            family = [Process(pid), *descendants(Process(pid))]
            for process in family:
                if process.read("comm").strip() == name and is_at_work(process):
                    return process
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["mke2fs", "sleep"])
async def test_disk_tool_is_confined_as_the_threat_model_says(layout: Layout, name: str) -> None:
    work = layout.tmp_dir / "work"
    work.mkdir(mode=0o700)
    async with running(tool(name, work), layout.home, [work], []) as seen:
        owner = work.stat().st_uid
    assert seen.shared == set(), NAMESPACES
    assert set(seen.capabilities.values()) == {NO_CAPABILITY}
    assert seen.seccomp == ("2", "1") and seen.status["NoNewPrivs"] == "1"
    (uid,) = set(seen.status["Uid"].split())
    if os.geteuid() == 0:
        assert FIRST_ID < int(uid) < 2**31 and owner == int(uid)
        assert seen.limits["Max processes"] == str(THREADS)
    assert (work.stat().st_uid, work.stat().st_gid) == (os.geteuid(), os.getegid())
    assert int(seen.limits["Max address space"]) == MEMORY_BYTES
    assert seen.limits["Max core file size"] == seen.limits["Max msgqueue size"] == "0"
    opened = re.compile(rf"pipe:.*|/dev/(null|pts/\d+)|socket:.*|/tmp/.*|{work}/disk")
    assert [path for path in seen.descriptors if not opened.fullmatch(path)] == []
    libraries = re.compile(r"/proc(/.*)?|/usr/(s?bin/\w+|lib.*)|/s?bin/\w+|/lib.*|/etc/ld\.so\.cache")
    granted = {"/", "/gate", str(work), *DEVICES}
    assert [at for at in seen.mounts if at not in granted and not libraries.fullmatch(at)] == []
    assert seen.writable == {str(work)}


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user copies what is the person's own")
async def test_disk_tool_that_copies_a_directory_for_root_may_read_it_and_nothing_else(
    layout: Layout, tmp_path: Path
) -> None:
    work, directory = layout.tmp_dir / "work", tmp_path / "rootfs"
    for path in (work, directory):
        path.mkdir(mode=0o700)
    async with running(Command(argv=("sleep", "600")), layout.home, [work], [directory]) as seen:
        pass
    assert READS_OF_OTHERS == "CAP_DAC_READ_SEARCH"
    held = {seen.capabilities[name] for name in ("CapPrm", "CapEff")}
    assert held == {DAC_READ_SEARCH}  # nothing in the bounding set is gained without a new privilege
    assert seen.seccomp == ("2", "1") and seen.status["NoNewPrivs"] == "1"
    assert seen.shared <= {"user"}
    assert str(directory) in seen.mounts and seen.writable == {str(work)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
async def test_base_from_a_directory_of_others_has_their_files(layout: Layout, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "home").mkdir(parents=True)
    (root / "home" / "key").write_bytes(b"theirs")
    for path in (root / "home" / "key", root / "home"):
        path.chmod(0o700)
        os.chown(path, 4321, 4321)
    disk = await ensure_base_from_rootfs(layout, root, size_gb=1)
    found = Ext4Image(disk.base_path)
    assert found.read("/home/key") == b"theirs"
    assert stat.S_IMODE(Path(disk.base_path).stat().st_mode) == 0o400


@pytest.mark.parametrize("left", ["a link", "another's file", "nothing"])
async def test_disk_that_a_tool_left_as_something_else_is_not_taken(
    layout: Layout, tmp_path: Path, left: str
) -> None:
    """A program that has been taken over could leave a link to what it wants to have in a box."""
    rootfs, secret = tmp_path / "rootfs", tmp_path / "secret"
    rootfs.mkdir()
    secret.write_bytes(b"the host's")
    secret.chmod(0o600)

    @asynccontextmanager
    async def taken_over(
        command: Command, writes: Sequence[Path], reads: Sequence[Path] = ()
    ) -> AsyncIterator[Command]:
        yield command
        disk = writes[0] / "base.ext4"
        if command.argv[0] == "debugfs":  # the last of them
            disk.unlink()
            if left == "a link":
                disk.symlink_to(secret)
            elif left == "another's file":
                os.link(secret, disk)

    with pytest.raises(ImageError, match=r"base\.ext4 came out as something else"):
        await ensure_base_from_rootfs(layout, rootfs, size_gb=1, wrap=taken_over)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert not list(layout.bases_dir.iterdir())
