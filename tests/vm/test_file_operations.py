"""Single files of a box through the library: bytes in and out, listings, changes, and what each failure is called."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

import boxlite as library
from tests.framework.cli import Boxlite

pytestmark = pytest.mark.asyncio(loop_scope="module")
PASSWD_USER = "nobody"


@pytest.fixture(scope="module")
def name(boxlite_of_module: Boxlite, alpine: str) -> str:
    """A running box with a tmpfs of 1 MiB, a read-only one, and a directory only root may look into."""
    boxlite_of_module(
        "run", "-d", "--name", "shelf", "--tmpfs", "/small:size=1m", "--tmpfs", "/fixed:ro", alpine,
        "sh", "-c", "mkdir -p -m 700 /root/closed; mkdir -m 1777 /open; ln -s /etc/passwd /open/link; mkfifo /open/fifo; exec sleep 900",
        check=True,
    )  # fmt: skip
    return "shelf"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def box(boxlite_of_module: Boxlite, name: str) -> AsyncIterator[library.Box]:
    async with library.Boxlite(library.Options(home_dir=boxlite_of_module.home)) as runtime:
        box = await runtime.get(name)
        assert box is not None
        yield box


async def in_box(box: library.Box, script: str) -> str:
    return (await (await box.exec_shell(script)).collect()).stdout.strip()


@pytest.mark.parametrize(
    "size", [0, 1, 256 * 1024, 1024 * 1024 + 1], ids=["empty", "byte", "chunk", "more than a message"]
)
async def test_write_file_then_read_file_gives_every_byte_back(box: library.Box, size: int) -> None:
    content = os.urandom(size)
    assert await box.write_file("/srv/bytes", content) == size
    assert await box.read_file("/srv/bytes") == content
    assert b"".join([piece async for piece in box.iter_file("/srv/bytes", offset=1)]) == content[1:]


async def test_write_file_takes_text_files_and_streams(box: library.Box) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    for content, expected in (
        ("tëxt", "tëxt".encode()),
        (io.BytesIO(b"a file"), b"a file"),
        ((b"gen", b"erator"), b"generator"),
        (pieces(), b"abcabcabc"),
    ):
        await box.write_file("/srv/mixed", content)
        assert await box.read_file("/srv/mixed") == expected
    assert await box.append_file("/srv/mixed", "+") == 1
    assert await box.read_text("/srv/mixed") == "abcabcabc+"
    assert await box.read_file("/srv/mixed", offset=3, size=4) == b"abca"
    assert await box.read_file("/srv/mixed", size=0) == b""


async def test_write_file_that_fails_midway_leaves_the_old_file_and_nothing_else(box: library.Box) -> None:
    await box.mkdir("/srv/atomic")
    await box.write_file("/srv/atomic/kept", "before", mode=0o640)

    async def breaks() -> AsyncIterator[bytes]:
        yield bytes(700_000)
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        await box.write_file("/srv/atomic/kept", breaks())
    for _ in range(100):
        listing = await box.list_dir("/srv/atomic")
        if len(listing) == 1:
            break
        await asyncio.sleep(0.05)
    assert [(file.name, file.mode, file.size_bytes) for file in listing] == [("kept", 0o640, 6)]
    with pytest.raises(library.ResourceExhaustedError, match="/small/big") as full:
        await box.write_file("/small/big", bytes(4_000_000))
    assert full.value.hint is not None and full.value.box == "shelf"
    assert await box.list_dir("/small") == []


async def test_write_file_keeps_owner_and_mode_of_the_file_it_replaces(box: library.Box) -> None:
    await box.write_file("/srv/owned", "1", mode=0o4711)
    await box.chown("/srv/owned", PASSWD_USER)
    await box.chmod("/srv/owned", 0o604)
    await box.write_file("/srv/owned", "22")
    found = await box.stat("/srv/owned")
    assert (found.uid, found.mode, found.size_bytes, found.kind) == (65534, 0o604, 2, library.FileKind.FILE)
    assert abs((datetime.now(UTC) - found.modified_at).total_seconds()) < 120
    await box.write_file("/etc/hosts", "1.2.3.4 here\n")  # a mount of its own cannot be replaced
    assert await in_box(box, "cat /etc/hosts") == "1.2.3.4 here"
    await in_box(box, "ln -s owned /srv/to-owned")
    await box.write_file("/srv/to-owned", "333")
    assert (await box.stat("/srv/to-owned", follow_links=False)).link_target == "owned"
    assert await box.read_text("/srv/owned") == "333"


async def test_directories_are_made_listed_renamed_and_removed(box: library.Box) -> None:
    await box.mkdir("/srv/tree/a/b", parents=True, mode=0o750)
    await box.mkdir("/srv/tree/a/b", parents=True, exist_ok=True)
    await box.write_file("/srv/tree/a/b/new\nline", "x")
    await box.write_file("/srv/deep/er/file", "x", make_parents=True)
    assert [file.path for file in await box.list_dir("/srv/tree/a/b")] == ["/srv/tree/a/b/new\nline"]
    assert (await box.stat("srv/tree/a/b")).mode == 0o750
    await box.rename_file("/srv/tree/a", "/srv/tree/moved")
    assert not await box.exists("/srv/tree/a") and await box.exists("/srv/tree/moved/b")
    await box.chmod("/srv/tree", 0o700, recursive=True)
    await box.chown("/srv/tree", f"{PASSWD_USER}:daemon", recursive=True)
    assert await in_box(box, "stat -c '%a %u %g' /srv/tree/moved/b/*") == "700 65534 2"
    await box.remove_file("/srv/tree", recursive=True)
    await box.remove_file("/srv/tree", missing_ok=True)
    assert not await box.exists("/srv/tree")


async def test_glob_matches_as_a_shell_does(box: library.Box) -> None:
    await in_box(
        box, "mkdir -p /g/a/b /g/.h; touch /g/1.py /g/a/2.py /g/a/b/3.py /g/.h/4.py /g/x.txt; ln -s / /g/a/up"
    )
    for pattern, expected in (
        ("/g/*.py", ["/g/1.py"]),
        ("/g/**/*.py", ["/g/1.py", "/g/a/2.py", "/g/a/b/3.py"]),
        ("/g/.h/*", ["/g/.h/4.py"]),
        ("/g/[x-z].t?t", ["/g/x.txt"]),
        ("/g/a", ["/g/a"]),
        ("/g/nothing*", []),
    ):
        assert [file.path for file in await box.glob(pattern)] == expected, pattern


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("read_file", ("/none",), library.NotFoundError),
        ("read_file", ("/etc",), library.IsDirectoryError),
        ("read_file", ("/etc/passwd/x",), library.NotDirectoryError),
        ("read_file", ("/open/fifo",), library.BoxliteError),
        ("read_file", ("/etc/shadow", PASSWD_USER), library.DeniedError),
        ("read_file", ("/root/closed/x", PASSWD_USER), library.DeniedError),
        ("read_file", ("/etc/passwd", "nosuchuser"), library.NotFoundError),
        ("write_file", ("/none/x", "x"), library.NotFoundError),
        ("write_file", ("/etc", "x"), library.IsDirectoryError),
        ("write_file", ("/srv/", "x"), library.IsDirectoryError),
        ("write_file", ("/etc/passwd/x", "x"), library.NotDirectoryError),
        ("write_file", ("/fixed/x", "x"), library.ReadOnlyError),
        ("write_file", ("/etc/mine", "x", PASSWD_USER), library.DeniedError),
        ("append_file", ("/etc/passwd", "x", PASSWD_USER), library.DeniedError),
        ("list_dir", ("/none",), library.NotFoundError),
        ("list_dir", ("/etc/passwd",), library.NotDirectoryError),
        ("list_dir", ("/root/closed", PASSWD_USER), library.DeniedError),
        ("stat", ("/none",), library.NotFoundError),
        ("stat", ("/root/closed/x", PASSWD_USER), library.DeniedError),
        ("mkdir", ("/etc",), library.AlreadyExistsError),
        ("mkdir", ("/none/x",), library.NotFoundError),
        ("mkdir", ("/fixed/x",), library.ReadOnlyError),
        ("remove_file", ("/etc",), library.DirectoryNotEmptyError),
        ("remove_file", ("/none",), library.NotFoundError),
        ("remove_file", ("/",), library.InvalidStateError),
        ("remove_file", ("/etc/passwd", PASSWD_USER), library.DeniedError),
        ("rename_file", ("/etc/passwd", "/small/passwd"), library.UnsupportedError),
        ("rename_file", ("/none", "/srv/none"), library.NotFoundError),
        ("chmod", ("/none", 0o600), library.NotFoundError),
        ("chown", ("/etc/passwd", "nosuchuser"), library.NotFoundError),
        ("chown", ("/none", "root"), library.NotFoundError),
        ("glob", ("",), library.InvalidArgumentError),
    ],
)  # fmt: skip
async def test_file_operation_that_cannot_be_done_raises_its_own_error(
    box: library.Box, call: str, arguments: tuple[object, ...], error: type[library.BoxliteError]
) -> None:
    options = {}
    if arguments[-1] in (PASSWD_USER, "nosuchuser") and call != "chown":
        *rest, options["user"] = arguments
        arguments = tuple(rest)
    with pytest.raises(error) as raised:
        await getattr(box, call)(*arguments, **options)
    if error is not library.InvalidArgumentError:
        assert (raised.value.box, raised.value.operation) == ("shelf", call)
        assert str(arguments[0]).rstrip("/") in raised.value.message or "nosuchuser" in raised.value.message


async def test_files_that_must_not_be_there_are_left_alone(box: library.Box) -> None:
    await box.write_file("/srv/first", "first", overwrite=False)
    with pytest.raises(library.AlreadyExistsError):
        await box.write_file("/srv/first", "second", overwrite=False)
    await box.write_file("/srv/second", "second")
    with pytest.raises(library.AlreadyExistsError):
        await box.rename_file("/srv/second", "/srv/first", overwrite=False)
    assert await box.read_text("/srv/first") == "first"
    with pytest.raises(library.ResourceExhaustedError):
        await box.read_file("/srv/first", max_bytes=3)


async def test_files_of_a_user_belong_to_that_user(box: library.Box) -> None:
    await box.write_file("/open/theirs", "x", user=PASSWD_USER)
    assert (await box.stat("/open/theirs")).uid == 65534
    await box.mkdir("/open/dir", user="1234:567")
    found = await box.stat("/open/dir")
    assert (found.uid, found.gid) == (1234, 567)


async def test_files_of_a_job_box_are_there_before_its_command_runs(boxlite: Boxlite, alpine: str) -> None:
    async with library.Boxlite(library.Options(home_dir=boxlite.home)) as runtime:
        options = library.BoxOptions(image=alpine, cmd=["cat", "/in"], auto_remove=False)
        box = await runtime.create(options, name="job")
        await box.write_file("/in", "given\n")
        assert (await box.info()).state.status is library.BoxStatus.CONFIGURED
    assert boxlite("start", "-a", "job", check=True).stdout == b"given\n"
