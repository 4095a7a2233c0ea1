"""Copies that cannot be done, or are broken off: what is said, what is left, and that nothing else happened."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.errors import (
    AlreadyExistsError,
    BoxliteError,
    DeniedError,
    InvalidArgumentError,
    IsDirectoryError,
    NotDirectoryError,
    NotFoundError,
    ReadOnlyError,
    ResourceExhaustedError,
)
from engine.progress import Progress
from engine.runtime import Runtime
from engine.runtime.copy_rules import CopyOptions
from tests.framework.cli import Boxlite

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOX = "failing"
LARGE_BYTES = 64 * 1024 * 1024
PART_BYTES = 300_000


run = subprocess.run


class Watched:
    """Sets `begun` at the first word of progress."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    def __call__(self, step: Progress) -> None:
        if step.stage == "copy":
            loop.call_soon_threadsafe(self.begun.set)


loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("host")
    (made / "ro").mkdir()
    (made / "file").write_text("file")
    (made / "medium").write_bytes(os.urandom(4_000_000))
    (made / "large").write_bytes(os.urandom(1 << 20) * (LARGE_BYTES >> 20))
    return made


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(
    boxlite_of_module: Boxlite, alpine: str, host: Path, watched: Watched
) -> AsyncIterator[Runtime]:
    global loop
    loop = asyncio.get_running_loop()
    boxlite_of_module(
        "run", "-d", "--name", BOX, "--tmpfs", "/small:size=1m", "--tmpfs", "/fixed:ro", "-v", f"{host}/ro:/ro:ro", alpine,
        "sh", "-c", "mkdir /srv/dir; echo kept > /srv/kept; exec sleep 900", check=True,
    )  # fmt: skip
    boxlite_of_module(
        "exec", BOX, "sh", "-c", "until grep -q kept /srv/kept; do sleep 0.1; done 2>/dev/null", check=True
    )
    async with Runtime(boxlite_of_module.home, progress=watched) as runtime:
        yield runtime


async def listed(runtime: Runtime, path: str) -> dict[str, int]:
    """Names and sizes of what is in a directory of the box, hidden ones too."""
    sink = io.BytesIO()
    await runtime.copy_tar_out(BOX, f"{path}/.", sink, CopyOptions())
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        return {member.name.removeprefix("./"): member.size for member in archive if member.name != "."}


@pytest.mark.parametrize(
    ("source", "target", "error", "said", "hint"),
    [
        ("medium", "/small/new", ResourceExhaustedError, "no space left", "in the box"),
        ("file", "/fixed/new", ReadOnlyError, "/fixed/new: read-only", "without :ro"),
        ("file", "/ro/new", ReadOnlyError, "/ro/new: read-only", "without :ro"),
        ("file", "/srv/kept/x", NotDirectoryError, "/srv/kept", ""),
        ("file", "/srv/kept/", InvalidArgumentError, "not a directory", ""),
        ("file", "/proc/1/x", BoxliteError, "/proc/1/x", ""),
        ("none", "/srv", NotFoundError, "does not exist on the host", ""),
    ],
    ids=["no space", "read-only tmpfs", "read-only bind", "below a file", "file as directory", "proc", "missing"],
)  # fmt: skip
async def test_copy_in_that_cannot_be_done_says_why_and_leaves_nothing(
    runtime: Runtime, host: Path, source: str, target: str, error: type[BoxliteError], said: str, hint: str
) -> None:
    with pytest.raises(error) as raised:
        await runtime.copy_in(BOX, str(host / source), target, CopyOptions())
    assert said in str(raised.value).lower()
    assert hint in (raised.value.hint or "")
    assert (raised.value.box, raised.value.operation) == (BOX, "cp") or source == "none"
    assert await listed(runtime, "/small") == {}


async def test_copy_in_without_room_leaves_the_file_that_was_there(runtime: Runtime, host: Path) -> None:
    await runtime.copy_in(BOX, str(host / "file"), "/small/there", CopyOptions())
    with pytest.raises(ResourceExhaustedError):
        await runtime.copy_in(BOX, str(host / "medium"), "/small/there", CopyOptions())
    with pytest.raises(AlreadyExistsError):
        await runtime.copy_in(BOX, str(host / "file"), "/small/there", CopyOptions(overwrite=False))
    assert await listed(runtime, "/small") == {"there": 4}


@pytest.mark.parametrize(
    ("source", "target", "error", "said"),
    [
        ("/srv/none", "out", NotFoundError, "does not exist in the box"),
        ("/srv/kept", "file/x", NotDirectoryError, "not a directory"),
        ("/srv/kept", "/proc/new", BoxliteError, "/proc"),
        ("/srv/kept", "/sys/new", DeniedError, "/sys"),
        ("/dev/null", "out", BoxliteError, "device"),
    ],
    ids=["missing", "below a file", "proc", "sys", "device"],
)
async def test_copy_out_that_cannot_be_done_says_why_and_leaves_nothing(
    runtime: Runtime,
    host: Path,
    tmp_path: Path,
    source: str,
    target: str,
    error: type[BoxliteError],
    said: str,
) -> None:
    (tmp_path / "file").write_text("file")
    with pytest.raises(error) as raised:
        await runtime.copy_out(
            BOX, source, target if target.startswith("/") else str(tmp_path / target), CopyOptions()
        )
    assert said in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
async def test_copy_out_without_room_on_the_host_says_so_and_leaves_nothing(
    runtime: Runtime, host: Path, tmp_path: Path
) -> None:
    await runtime.copy_in(BOX, str(host / "medium"), "/srv/medium", CopyOptions())
    small = tmp_path / "small"
    small.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
    try:
        with pytest.raises(ResourceExhaustedError, match="No space left") as raised:
            await runtime.copy_out(BOX, "/srv/medium", str(small), CopyOptions())
        assert "disk space" in (raised.value.hint or "")
        assert list(small.iterdir()) == []
        run(["mount", "-o", "remount,ro", str(small)], check=True)
        with pytest.raises(ReadOnlyError):
            await runtime.copy_out(BOX, "/srv/kept", str(small), CopyOptions())
    finally:
        run(["umount", str(small)], check=True)


async def test_copy_onto_a_directory_is_told_apart(runtime: Runtime, host: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("dir"), io.BytesIO())
    packed.seek(0)
    with pytest.raises(IsDirectoryError, match="/srv/dir"):
        await runtime.copy_tar_in(BOX, packed, "/srv", CopyOptions())


async def broken_off(copy: asyncio.Task[None], watched: Watched) -> None:
    """Cancel a copy, as Ctrl-C does, once it has begun."""
    watched.begun.clear()
    waiting = asyncio.ensure_future(watched.begun.wait())
    await asyncio.wait((waiting, copy), return_when=asyncio.FIRST_COMPLETED, timeout=60)
    waiting.cancel()
    assert not copy.done(), "it was over before it could be broken off"
    copy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copy


async def test_copy_in_that_is_broken_off_leaves_no_part(
    runtime: Runtime, host: Path, watched: Watched
) -> None:
    await runtime.copy_in(BOX, str(host / "file"), "/half/there", CopyOptions())
    for name in ("new", "there"):
        copying = asyncio.ensure_future(
            runtime.copy_in(BOX, str(host / "large"), f"/half/{name}", CopyOptions())
        )
        await broken_off(copying, watched)
    assert await until_only(runtime, "/half", {"there": 4})


async def test_copy_out_that_is_broken_off_leaves_no_part(
    runtime: Runtime, host: Path, tmp_path: Path, watched: Watched
) -> None:
    await runtime.copy_in(BOX, str(host / "large"), "/srv/large", CopyOptions())
    (tmp_path / "there").write_text("file")
    for name in ("new", "there"):
        copying = asyncio.ensure_future(
            runtime.copy_out(BOX, "/srv/large", str(tmp_path / name), CopyOptions())
        )
        await broken_off(copying, watched)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "file"


async def until_only(runtime: Runtime, path: str, expected: dict[str, int]) -> bool:
    """The box learns a moment later that nobody copies any more."""
    deadline = time.monotonic() + 20
    while (found := await listed(runtime, path)) != expected:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)
    return True


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_command_that_is_ended_in_the_middle_leaves_no_part(
    boxlite_of_module: Boxlite, runtime: Runtime, signum: signal.Signals
) -> None:
    place = f"/ended-{signum}"
    member = tarfile.TarInfo("file")
    member.size = 2 * PART_BYTES
    whole = tarfile.TarInfo("whole")
    whole.size = 5
    with boxlite_of_module.popen("cp", "-", f"{BOX}:{place}", stdin=subprocess.PIPE) as copying:
        assert copying.stdin is not None
        copying.stdin.write(whole.tobuf() + b"whole".ljust(512, b"\0") + member.tobuf() + bytes(PART_BYTES))
        copying.stdin.flush()
        deadline = time.monotonic() + 60
        while "whole" not in await listed_if_there(runtime, place):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        copying.send_signal(signum)
        status = await asyncio.to_thread(copying.wait, 30)
    assert status == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[signum]
    assert await until_only(runtime, place, {"whole": 5})


async def listed_if_there(runtime: Runtime, path: str) -> dict[str, int]:
    try:
        return await listed(runtime, path)
    except NotFoundError:
        return {}
