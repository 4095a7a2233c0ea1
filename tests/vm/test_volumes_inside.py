"""What programs in a box can rely on in binds and volumes, and what they cannot get around. One box with fifty mounts."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite

BOX = "mounted"
SMALL = 43
HOST_PYTHON = Path("/usr/bin/python3")
LOCKS = """
import fcntl, os, sys
for kind in (fcntl.flock, fcntl.lockf):
    with open(sys.argv[1], "w") as mine:
        kind(mine, fcntl.LOCK_EX)
        if not os.fork():
            with open(sys.argv[1], "w") as other:
                try:
                    kind(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os._exit(7)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories that are bound, and a link to one of them."""
    made = tmp_path_factory.mktemp("host")
    for name in (
        "rw",
        "ro",
        "vanishing",
        "behind",
        "elsewhere",
        *(f"small{number}" for number in range(SMALL)),
    ):
        (made / name).mkdir()
    (made / "rw").chmod(0o777)
    (made / "ro" / "kept").write_text("kept")
    (made / "one").write_text("one")
    (made / "behind" / "real").write_text("real")
    (made / "elsewhere" / "secret").write_text("of the host")
    (made / "link").symlink_to("behind")
    return made


@pytest.fixture(scope="module")
def box(boxlite_of_module: Boxlite, alpine: str, host: Path) -> Boxlite:
    boxlite_of_module("volume", "create", "data", check=True)
    binds = [f"{host}/small{number}:/small/{number}" for number in range(SMALL)]
    binds += [f"{host}/rw:/rw", f"{host}/ro:/ro:ro", f"{host}/one:/etc/one", f"{host}/vanishing:/vanishing"]
    binds += [f"{host}/link:/link", "data:/data", "data:/data-ro:ro"]
    if HOST_PYTHON.exists():
        binds.append("/usr:/host:ro")
    words = [word for bind in binds for word in ("-v", bind)]
    boxlite_of_module(
        "run", "-d", "--name", BOX, *words, "--tmpfs", "/memory", alpine, "sleep", "900", check=True
    )
    return boxlite_of_module


def sh(box: Boxlite, script: str, *options: str) -> str:
    """What a script in the box prints, its failures included."""
    return box.out("exec", *options, BOX, "sh", "-c", f"{{ {script}\n}} 2>&1 || true")


def test_fifty_mounts_are_all_there_and_apart(box: Boxlite, host: Path) -> None:
    said = sh(box, "for i in /small/*; do echo $i > $i/name; done; grep -cE ' (9p|tmpfs) ' /proc/mounts")
    assert int(said) >= 50
    for number in range(SMALL):
        assert (host / f"small{number}" / "name").read_text() == f"/small/{number}\n"


@pytest.mark.parametrize("place", ["/rw", "/data"])
def test_owner_in_a_volume_is_the_person_whoever_writes_and_cannot_be_changed(
    box: Boxlite, host: Path, place: str
) -> None:
    sh(box, f"mkdir {place}/by-root; echo x > {place}/of-root")
    sh(box, f"echo x > {place}/of-nobody", "-u", "nobody")
    said = sh(
        box, f"chown 1234:567 {place}/of-root"
    )  # the second where root's box is shown its files under other ids
    assert "not permitted" in said or "Invalid argument" in said
    assert sh(box, f"stat -c '%u %g' {place}/of-root {place}/of-nobody | sort -u") == "0 0"
    data = box.out("volume", "inspect", "-f", "{{.Mountpoint}}", "data")
    on_host = host / "rw" if place == "/rw" else Path(data)
    for name in ("by-root", "of-root", "of-nobody"):
        found = (on_host / name).stat()
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid()), name
    sh(box, f"chmod 4640 {place}/of-root")
    assert stat.S_IMODE((on_host / "of-root").stat().st_mode) & 0o777 == 0o640


def test_locks_hold_between_the_processes_of_a_box(box: Boxlite) -> None:
    for place in ("/rw", "/data"):
        script = f"flock {place}/l sleep 5 & sleep 1; flock -n {place}/l true || echo taken; kill $!"
        assert "taken" in sh(box, script)
    if not HOST_PYTHON.exists():
        pytest.skip("no Python on the host to lend to the box")
    (loader,) = sorted(Path("/usr/lib").glob("*-linux-gnu/ld-linux-*.so.*"))[:1] or [None]
    if loader is None:
        pytest.skip("no C library on the host to lend to the box")
    lent = f"/host/lib/{loader.parent.name}"
    python = f"PYTHONHOME=/host {lent}/{loader.name} --library-path {lent} /host/bin/python3"
    box("exec", "-i", BOX, "sh", "-c", "cat > /locks.py", stdin=LOCKS.encode(), check=True)
    assert sh(box, f"{python} -S -E /locks.py /rw/locked").split() == ["7", "7"]


def test_inotify_tells_of_changes_made_in_the_directory_that_was_mounted(box: Boxlite) -> None:
    said = sh(
        box,
        "(inotifyd - /small/7:nwmyd > /told & echo $! > /watcher); sleep 1; cd /small/7; echo x > a; mv a b; rm b;"
        "for i in $(seq 50); do grep -q ^d /told && break; sleep .2; done; kill $(cat /watcher); cat /told",
    )
    events = {tuple(line.split("\t")[::2]) for line in said.splitlines()}
    assert {("n", "a"), ("m", "a"), ("y", "b"), ("d", "b")} <= events, said


def test_changes_of_names_go_both_ways(box: Boxlite, host: Path) -> None:
    for name in ("a", "b", "c"):
        (host / "rw" / name).write_text(name)
    sh(box, "cd /rw; cat a b c; mv a moved; rm b")
    assert sorted(path.name for path in (host / "rw").glob("?*") if path.name in "abcmoved") == ["c", "moved"]
    (host / "rw" / "c").rename(host / "rw" / "renamed")
    (host / "rw" / "moved").unlink()
    (host / "rw" / "fresh").write_text("fresh")
    said = sh(box, "cd /rw; cat c; cat moved; cat renamed fresh")
    assert said.count("No such file") == 2 and said.endswith("cfresh")
    (host / "rw" / "fresh").write_text("changed, and longer")
    assert sh(box, "cat /rw/fresh") == "changed, and longer"


def test_read_only_is_the_host_s_doing(box: Boxlite, host: Path) -> None:
    for place in ("/ro", "/data-ro"):
        said = sh(
            box,
            f"mount -o remount,rw {place}; mount -o remount,rw,bind {place}; echo broken > {place}/kept; touch {place}/new; mkdir {place}/d;"
            f"rm -f {place}/kept; chmod 777 {place}; mv {place}/kept {place}/other; ln {place}/kept {place}/hard",
            "--privileged",
        )
        assert said.lower().count("read-only file system") >= 4, said
    assert (host / "ro" / "kept").read_text() == "kept"
    assert [path.name for path in (host / "ro").iterdir()] == ["kept"]


def test_source_that_is_a_link_is_followed_once(box: Boxlite, host: Path) -> None:
    (host / "link").unlink()
    (host / "link").symlink_to("elsewhere")
    assert sh(box, "ls /link") == "real"
    sh(box, "echo x > /link/new")
    assert (host / "behind" / "new").exists() and not (host / "elsewhere" / "new").exists()


def test_source_that_vanishes_takes_its_files_along_and_nothing_else(box: Boxlite, host: Path) -> None:
    (host / "vanishing" / "f").write_text("f")
    assert sh(box, "cat /vanishing/f") == "f"
    shutil.rmtree(host / "vanishing")
    (host / "vanishing").symlink_to("elsewhere")
    said = sh(box, "cat /vanishing/f; echo x > /vanishing/new; cat /vanishing/secret")
    assert "of the host" not in said and said.count("can't open") == 2 and "can't create" in said, said
    assert sorted(path.name for path in (host / "elsewhere").iterdir()) == ["secret"]
    assert sh(box, "echo alive; echo x > /rw/still && cat /rw/still").split() == ["alive", "x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_files_of_others_that_the_person_would_need_root_for_are_closed(box: Boxlite, host: Path) -> None:
    other = host / "rw" / "theirs"
    other.write_text("private")
    os.chown(other, 1234, 1234)
    other.chmod(0o600)
    assert "private" not in sh(box, "cat /rw/theirs; id -u", "--privileged")
    other.chmod(0o644)
    assert sh(box, "cat /rw/theirs") == "private"
    other.unlink()


def test_cp_goes_into_volumes_and_out_of_them(box: Boxlite, host: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "f").write_text("f")
    (tree / "big").write_bytes(os.urandom(3_000_000))
    if os.geteuid() == 0:
        os.chown(tree / "sub" / "f", 1234, 567)
    for place, options in (("/rw", ()), ("/data", ("-a",)), ("/memory", ())):
        box("cp", *options, str(tree), f"{BOX}:{place}", check=True)
        box("cp", *options, str(tree), f"{BOX}:{place}", check=True)  # once more, over what is there
        box("cp", f"{BOX}:{place}/tree", str(tmp_path / place.strip("/")), check=True)
        back = tmp_path / place.strip("/") / "tree"
        assert (back / "big").read_bytes() == (tree / "big").read_bytes()
        assert (back / "sub" / "f").read_text() == "f"
    assert (host / "rw" / "tree" / "big").stat().st_uid == os.geteuid()
    done = box("cp", str(tree / "big"), f"{BOX}:/ro/")
    assert done.returncode != 0 and "read-only" in done.stderr.decode().lower()
    box("cp", str(tree / "sub" / "f"), f"{BOX}:/etc/one", check=True)
    assert (host / "one").read_text() == "f"
    assert not list((host / "rw").rglob(".*.boxlite"))
