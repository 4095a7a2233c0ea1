"""Boxes that try to reach the host through what is copied and shared: links, races, names, programs in wait
(CVE-2018-15664 and CVE-2019-14271 in docker cp, CVE-2022-1227 in podman, and their kin)."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

import boxlite as library
from engine.errors import BoxliteError
from engine.runtime import Runtime
from engine.runtime.copy_rules import CopyOptions
from tests.framework.cli import Boxlite

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "of the host"
BOX = "hostile"
RACES = 6


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`secret` and `outside/` are the host's, `shared/` is bound into the box."""
    made = tmp_path_factory.mktemp("host")
    (made / "secret").write_text(SECRET)
    (made / "outside").mkdir()
    (made / "shared").mkdir()
    (made / "shared" / "out").symlink_to(made / "secret")
    return made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(boxlite_of_module: Boxlite, alpine: str, host: Path) -> AsyncIterator[Runtime]:
    boxlite_of_module(
        "run", "-d", "--name", BOX, "-v", f"{host}/shared:/shared", alpine, "sleep", "900", check=True
    )
    async with Runtime(boxlite_of_module.home) as runtime:
        yield runtime


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def box(boxlite_of_module: Boxlite, runtime: Runtime) -> AsyncIterator[library.Box]:
    async with library.Boxlite(library.Options(home_dir=boxlite_of_module.home)) as boxes:
        found = await boxes.get(BOX)
        assert found is not None
        yield found


@pytest.fixture
def out(tmp_path: Path, host: Path) -> Iterator[Path]:
    """Where a copy goes to; afterwards everything else of the host is what it was."""
    place = tmp_path / "out"
    place.mkdir()
    yield place
    assert (host / "secret").read_text() == SECRET
    assert list((host / "outside").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


async def sh(box: library.Box, script: str) -> str:
    result = await (await box.exec_shell(script)).collect()
    return result.stdout


def texts(place: Path) -> set[str]:
    return {path.read_text() for path in place.rglob("*") if path.is_file() and not path.is_symlink()}


@pytest.mark.parametrize(
    "planted",
    ["{host}/secret", "../../../../../../../../..{host}/secret", "/proc/self/root{host}/secret", "/proc/1/root{host}/secret"],
    ids=["absolute", "upwards", "own root", "root of process 1"],
)  # fmt: skip
async def test_link_that_is_copied_and_followed_leads_into_the_box_only(
    box: library.Box, runtime: Runtime, host: Path, out: Path, planted: str
) -> None:
    target = planted.format(host=host)
    await sh(box, f"mkdir -p '{host}'; echo -n of the box > '{host}/secret'; ln -sfn '{target}' /trap")
    await runtime.copy_out(BOX, "/trap", str(out / "link"))
    assert os.readlink(out / "link") == target
    (out / "link").unlink()
    try:
        await runtime.copy_out(BOX, "/trap", str(out / "read"), CopyOptions(follow_link=True))
    except BoxliteError:
        assert not (out / "read").exists()  # a process of the box is not seen from the agent's /proc
    assert SECRET not in texts(out)


async def test_directory_link_on_the_way_leads_into_the_box_only(
    box: library.Box, runtime: Runtime, host: Path, out: Path
) -> None:
    await sh(box, f"mkdir -p '{host}/outside'; echo inside > '{host}/outside/f'; ln -sfn '{host}' /up")
    await runtime.copy_out(BOX, "/up/outside", str(out))
    assert texts(out) == {"inside\n"}
    (out / "new").write_text("new")
    await runtime.copy_in(BOX, str(out / "new"), "/up/outside/new")
    assert await sh(box, f"cat '{host}/outside/new'") == "new"


async def test_tree_that_changes_into_links_while_it_is_copied_out_stays_in_the_destination(
    box: library.Box, runtime: Runtime, host: Path, out: Path
) -> None:
    await sh(
        box, f"mkdir -p /race/real '{host}/outside'; for i in $(seq 40); do echo box > /race/real/f$i; done"
    )
    swapping = await box.exec_shell(
        f"cd /race; while :; do mv real kept; ln -s '{host}/outside' real; rm real; mv kept real; done"
    )
    for number in range(RACES):
        try:
            await runtime.copy_out(BOX, "/race", str(out / str(number)))
        except BoxliteError:
            continue  # it was not there at that moment
    await swapping.kill()
    assert texts(out) <= {"box\n"}


async def test_destination_that_changes_into_a_link_while_it_is_copied_to_stays_in_the_box(
    box: library.Box, runtime: Runtime, host: Path, out: Path
) -> None:
    await sh(box, "mkdir -p /aim/dir /elsewhere")
    (out / "payload").write_text("payload")
    swapping = await box.exec_shell(
        f"cd /aim; while :; do mv dir kept; ln -s '{host}/outside' dir; rm -f dir; mv kept dir; done"
    )
    for number in range(RACES):
        try:
            await runtime.copy_in(BOX, str(out / "payload"), f"/aim/dir/f{number}")
        except BoxliteError:
            continue
    await swapping.kill()
    (out / "payload").unlink()


async def test_directory_on_the_host_that_becomes_a_link_is_not_followed(
    box: library.Box, runtime: Runtime, host: Path, out: Path
) -> None:
    await sh(box, "mkdir -p /pair/d; echo box > /pair/d/f")
    (out / "pair").mkdir()
    (out / "pair" / "d").symlink_to(host / "outside")
    with pytest.raises(BoxliteError):
        await runtime.copy_out(BOX, "/pair", str(out))


async def test_file_on_the_host_that_is_a_link_is_replaced(
    box: library.Box, runtime: Runtime, host: Path, out: Path
) -> None:
    await sh(box, "mkdir -p /pair2; echo box > /pair2/f")
    (out / "pair2").mkdir()
    (out / "pair2" / "f").symlink_to(host / "secret")
    await runtime.copy_out(BOX, "/pair2", str(out))
    assert not (out / "pair2" / "f").is_symlink() and texts(out) == {"box\n"}


@pytest.mark.parametrize("made", ["mknod /odd/n c 1 5", "mknod /odd/n b 7 0"], ids=["character", "block"])
async def test_device_is_not_made_on_the_host(
    box: library.Box, runtime: Runtime, out: Path, made: str
) -> None:
    await sh(box, f"rm -rf /odd; mkdir /odd; {made}")
    with pytest.raises(BoxliteError, match="device"):
        await runtime.copy_out(BOX, "/odd", str(out))
    assert not (out / "odd" / "n").exists()


async def test_fifos_and_endless_devices_hold_nobody_up(
    box: library.Box, runtime: Runtime, out: Path
) -> None:
    await sh(box, "rm -rf /odd; mkdir /odd; mkfifo /odd/fifo; echo after > /odd/z")
    await asyncio.wait_for(runtime.copy_out(BOX, "/odd", str(out)), 60)
    assert (out / "odd" / "z").read_text() == "after\n"
    for path in ("/odd/fifo", "/dev/zero"):
        with pytest.raises(BoxliteError):
            await asyncio.wait_for(box.read_file(path), 60)
    with pytest.raises(BoxliteError):
        await asyncio.wait_for(box.write_file("/odd/fifo", "x"), 60)


async def test_set_id_bits_and_owners_do_not_reach_the_host(
    box: library.Box, runtime: Runtime, out: Path
) -> None:
    await sh(box, "cp /bin/busybox /rootly; chown 1234:1234 /rootly; chmod 6755 /rootly")
    await runtime.copy_out(BOX, "/rootly", str(out))
    found = (out / "rootly").stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o755, os.geteuid(), os.getegid())


async def test_programs_and_libraries_of_the_box_are_not_run_for_a_copy(
    box: library.Box, runtime: Runtime, out: Path
) -> None:
    await sh(
        box,
        "mkdir -p /usr/lib/python3/dist-packages; echo 'hosts: files evil' > /etc/nsswitch.conf;"
        "for lib in /lib/libnss_evil.so.2 /lib/libnss_files.so.2; do echo evil > $lib; done;"
        'echo \'open("/pwned", "w")\' | tee /usr/lib/python3/sitecustomize.py > /usr/lib/python3/dist-packages/usercustomize.py;'
        "printf '#!/bin/sh\\ntouch /pwned\\n' > /bin/tar; chmod 755 /bin/tar; echo /evil.so > /etc/ld.so.preload; echo x > /plain",
    )
    await runtime.copy_out(BOX, "/plain", str(out))
    await runtime.copy_in(BOX, str(out / "plain"), "/plain2")
    assert await box.read_text("/plain2") == "x\n"
    assert not await box.exists("/pwned")


async def test_user_table_that_is_no_file_holds_nobody_up(
    box: library.Box, runtime: Runtime, out: Path
) -> None:
    await sh(box, "cp /etc/passwd /kept; rm /etc/passwd; mkfifo /etc/passwd")
    try:
        (out / "f").write_text("f")
        await asyncio.wait_for(runtime.copy_in(BOX, str(out / "f"), "/f"), 60)
        with pytest.raises(BoxliteError):
            await asyncio.wait_for(box.read_file("/f", user="nobody"), 60)
    finally:
        await sh(box, "rm /etc/passwd; cp /kept /etc/passwd")


async def test_names_with_line_ends_and_escapes_are_kept_and_shown_safely(
    boxlite_of_module: Boxlite, box: library.Box, runtime: Runtime, out: Path
) -> None:
    name = "a\nb\x1b]0;title\x07\x1b[2J\u202egnp"
    await box.write_file(f"/names/{name}", "x", make_parents=True)
    await runtime.copy_out(BOX, "/names", str(out))
    assert [path.name for path in (out / "names").iterdir()] == [name]
    assert [file.name for file in await box.list_dir("/names")] == [name]
    await sh(box, "rm -rf /names")
    await box.mkdir(f"/names/{name}/x", parents=True)
    await asyncio.to_thread((out / "names" / name).unlink)
    (out / "names" / name).write_text("a file where a directory comes")
    done = await asyncio.to_thread(boxlite_of_module, "cp", f"{BOX}:/names", str(out))
    missing = await asyncio.to_thread(boxlite_of_module, "cp", f"{BOX}:/none/{name}", str(out))
    for said in (done.stderr, missing.stderr):
        assert b"\x1b" not in said and b"\x07" not in said and "\u202e" not in said.decode(), said
    assert done.returncode != 0 and missing.returncode != 0


async def test_command_with_line_ends_and_escapes_is_shown_safely_in_a_table(
    boxlite_of_module: Boxlite, box: library.Box
) -> None:
    hostile = await box.exec_shell("sleep 60 # \x1b[2J\x1b]0;title\x07\u202egnp\nmain  forged line")
    try:
        shown = await asyncio.to_thread(boxlite_of_module, "top", BOX)
    finally:
        await hostile.kill()
    assert shown.returncode == 0 and b"sleep 60 #" in shown.stdout
    assert (
        b"\x1b" not in shown.stdout and b"\x07" not in shown.stdout and "\u202e" not in shown.stdout.decode()
    )
    assert len(shown.stdout.splitlines()) == 3  # the head, the main command, this one


async def test_deep_and_looping_trees_come_to_an_end(box: library.Box, runtime: Runtime, out: Path) -> None:
    await sh(box, "mkdir -p /loop/a; ln -s .. /loop/a/up; ln -s /loop /loop/a/again; ln -s self /loop/self")
    deep = "/".join(["d"] * 120)
    await box.mkdir(f"/loop/{deep}", parents=True)
    await asyncio.wait_for(runtime.copy_out(BOX, "/loop", str(out)), 120)
    assert (out / "loop" / deep).is_dir()
    assert [file.path for file in await box.glob("/loop/**/up")] == ["/loop/a/up"]
    with pytest.raises(BoxliteError):
        await box.read_file("/loop/self")


async def test_link_in_a_bind_that_leads_out_of_it_leads_into_the_box(
    box: library.Box, runtime: Runtime, host: Path, out: Path
) -> None:
    await sh(box, f"rm -rf '{host}/secret'")
    with pytest.raises(BoxliteError):
        await box.read_file("/shared/out")
    await sh(box, f"ln -s ../secret /shared/up; ln -s '{host}' /shared/abs; mkdir -p '{host}'")
    for path in ("/shared/up", "/shared/abs/secret", "/shared/../../../secret"):
        with pytest.raises(BoxliteError):
            await box.read_file(path)
    await box.write_file("/shared/abs/secret", "of the box")
    for name in ("up", "abs"):
        (host / "shared" / name).unlink()


async def test_bind_whose_source_is_replaced_or_gone_shows_what_was_bound(
    box: library.Box, runtime: Runtime, host: Path, out: Path
) -> None:
    (host / "shared" / "mine").write_text("mine")
    (host / "shared").rename(host / "moved")
    (host / "shared").symlink_to(host / "outside")
    try:
        assert await box.read_text("/shared/mine") == "mine"
        await box.write_file("/shared/theirs", "theirs", user="root")
        assert (host / "moved" / "theirs").read_text() == "theirs"
    finally:
        (host / "shared").unlink()
        (host / "moved").rename(host / "shared")


async def test_tar_with_names_that_lead_out_is_refused_by_the_box(
    box: library.Box, runtime: Runtime, out: Path
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
    packed.seek(0)
    with pytest.raises(BoxliteError, match="leads out"):
        await runtime.copy_tar_in(BOX, packed, "/srv")
    assert not await box.exists("/escaped")


async def test_file_that_grows_or_shrinks_while_it_is_copied_is_whole_or_an_error(
    box: library.Box, runtime: Runtime, out: Path
) -> None:
    changing = await box.exec_shell("while :; do head -c 3000000 /dev/zero > /moving; : > /moving; done")
    for number in range(RACES):
        try:
            await runtime.copy_out(BOX, "/moving", str(out / str(number)))
        except BoxliteError:
            assert not (out / str(number)).exists()
    await changing.kill()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
