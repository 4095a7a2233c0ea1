"""`boxlite cp` in real boxes: the table of sources and destinations both ways, hostile boxes, boxes that do not run."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite

BIG_BYTES = 64 * 1024 * 1024


@pytest.fixture
def box(boxlite: Boxlite, alpine: str) -> str:
    """A running box called web."""
    boxlite("run", "-d", "--name", "web", "--tmpfs", "/scratch", alpine, "sleep", "600", check=True)
    return "web"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """file, link → file, and a directory with one below it."""
    made = tmp_path / "tree"
    (made / "dir" / "sub").mkdir(parents=True)
    (made / "file").write_text("file\n")
    (made / "file").chmod(0o751)
    os.utime(made / "file", (1_000_000_000, 1_000_000_000))
    (made / "link").symlink_to("file")
    (made / "dir" / "sub" / "deep").write_text("deep\n")
    return made


def sh(boxlite: Boxlite, script: str) -> str:
    return boxlite.out("exec", "web", "sh", "-c", script)


def test_cp_into_a_box_follows_the_table(boxlite: Boxlite, box: str, tree: Path) -> None:
    sh(boxlite, "mkdir /srv/there; echo old > /srv/old; ln -s /srv/old /srv/link; echo keep > /srv/keep")
    for source, target in (
        ("file", "/srv/missing/new"),
        ("file", "/srv/old"),
        ("file", "/srv/there"),
        ("file", "/srv/slash/"),
        ("file", "relative"),
        ("dir", "/srv/there"),
        ("dir", "/srv/made"),
        ("dir/.", "/srv/contents"),
        ("dir/.", "/srv/there"),
        ("link", "/srv/there"),
        ("file", "/scratch/in-tmpfs"),
        ("file", "/etc/hosts"),
    ):
        boxlite("cp", f"{tree}/{source}", f"web:{target}", check=True)
    boxlite("cp", "-L", str(tree / "link"), "web:/srv/followed", check=True)
    found = sh(
        boxlite, "cd /srv; find . ! -type d | sort; cat missing/new old link /relative /scratch/in-tmpfs /etc/hosts"
        " 2>/dev/null; stat -c '%a %u %Y' missing/new; readlink there/link; test -L followed || echo file",
    )  # fmt: skip
    assert found.splitlines() == [
        "./contents/sub/deep", "./followed", "./keep", "./link", "./made/dir/sub/deep", "./missing/new", "./old",
        "./slash/file", "./there/dir/sub/deep", "./there/file", "./there/link", "./there/sub/deep",
        *["file"] * 6, "751 0 1000000000", "file", "file",
    ]  # fmt: skip
    for words, status, said in (
        (("--no-overwrite", str(tree / "file"), "web:/srv/keep"), 1, "already exists"),
        ((str(tree / "dir"), "web:/srv/keep"), 2, "/srv/keep is not a directory"),
        ((str(tree / "file"), "web:/srv/keep/"), 2, "not a directory"),
        ((str(tree / "nope"), "web:/srv"), 1, "does not exist on the host"),
        ((str(tree / "file"), str(tree / "dir")), 2, "neither side is in a box"),
        ((str(tree / "file"), "nobox:/srv"), 1, "no such box"),
    ):
        done = boxlite("cp", *words)
        assert (done.returncode, said in done.stderr.decode()) == (status, True), done.stderr
    assert sh(boxlite, "cat /srv/keep") == "keep"


def test_cp_out_of_a_box_follows_the_table(boxlite: Boxlite, box: str, tmp_path: Path) -> None:
    sh(
        boxlite,
        "mkdir -p /srv/dir/sub /scratch; cd /srv; echo file > file; chmod 4751 file; touch -d @1000000000 file;"
        "ln -s file link; echo deep > dir/sub/deep; echo fast > /scratch/f",
    )
    out = tmp_path / "out"
    (out / "there").mkdir(parents=True)
    (out / "old").write_text("old")
    for source, target in (
        ("/srv/file", "missing/new"),
        ("/srv/file", "old"),
        ("/srv/file", "there"),
        ("srv/file", "slash/"),
        ("/srv/dir", "there"),
        ("/srv/dir", "made"),
        ("/srv/dir/.", "contents"),
        ("/srv/link", "there"),
        ("/scratch/f", "fast"),
    ):
        boxlite("cp", f"web:{source}", f"{out}/{target}", check=True)
    boxlite("cp", "-L", "web:/srv/link", f"{out}/followed", check=True)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir())
    assert files == [
        "contents/sub/deep", "fast", "followed", "made/dir/sub/deep", "missing/new", "old", "slash/file",
        "there/dir/sub/deep", "there/file", "there/link",
    ]  # fmt: skip
    facts = (out / "missing" / "new").stat()
    assert (facts.st_mode & 0o7777, facts.st_mtime, facts.st_uid) == (0o751, 1_000_000_000, os.geteuid())
    assert (out / "there" / "link").readlink() == Path("file")
    assert (out / "followed").read_text() == (out / "old").read_text() == "file\n"
    for words, status, said in (
        (("--no-overwrite", "web:/srv/file", f"{out}/old"), 1, "is there already"),
        (("web:/srv/dir", f"{out}/old"), 2, "is not a directory"),
        (("web:/srv/nope", str(out)), 1, "/srv/nope does not exist in the box"),
    ):
        done = boxlite("cp", *words)
        assert (done.returncode, said in done.stderr.decode()) == (status, True), done.stderr


def test_cp_takes_and_gives_tar_streams(boxlite: Boxlite, box: str, tree: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(tree / "dir", "dir")
    boxlite("cp", "-", "web:/made/here", stdin=packed.getvalue(), check=True)
    with tarfile.open(fileobj=io.BytesIO(boxlite("cp", "web:/made/here", "-", check=True).stdout)) as archive:
        assert archive.getnames() == ["here", "here/dir", "here/dir/sub", "here/dir/sub/deep"]
    done = boxlite("cp", "-", "web:/made", stdin=b"this is no archive" * 100)
    assert done.returncode != 0 and "in the box" in done.stderr.decode()
    reader = subprocess.run(
        f"{' '.join(boxlite.argv('cp', 'web:/bin', '-'))} | head -c 10 >/dev/null",
        shell=True, env=boxlite.environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert reader.stderr == b""


def test_cp_of_a_large_file_keeps_every_byte(boxlite: Boxlite, box: str, tmp_path: Path) -> None:
    content = os.urandom(BIG_BYTES)
    (tmp_path / "big").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    boxlite("cp", str(tmp_path / "big"), "web:/big", check=True, timeout_s=300)
    assert sh(boxlite, "sha256sum /big").split()[0] == expected
    boxlite("cp", "web:/big", str(tmp_path / "back"), check=True, timeout_s=300)
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == expected


def test_cp_from_a_hostile_box_stays_in_the_destination(boxlite: Boxlite, box: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("untouched")
    out = tmp_path / "out"
    out.mkdir()
    sh(
        boxlite,
        f"mkdir -p /a/x; ln -s {outside} /a/l; ln -s /etc/shadow /a/s; mkdir /b; ln -s {outside}/secret /b/f; mknod /dev-node c 1 3;"
        f"mkdir -p '{outside}'; echo of-the-box > '{outside}/secret'; printf x > \"/a/x/$(printf 'new\\nline')\"",
    )
    boxlite("cp", "web:/a", str(out), check=True)
    assert (out / "a" / "l").readlink() == outside and (out / "a" / "s").is_symlink()
    assert [path.name for path in (out / "a" / "x").iterdir()] == ["new\nline"]
    sh(boxlite, "rm /a/l; mkdir /a/l; echo planted > /a/l/secret")
    done = boxlite("cp", "web:/a", str(out))  # the link copied before stands where a directory is sent now
    assert done.returncode != 0
    assert boxlite("cp", "web:/dev-node", str(out)).returncode != 0
    boxlite("cp", "-L", "web:/b/f", str(out / "read"), check=True)
    assert (out / "read").read_text() == "of-the-box\n"  # the box's file of that name, not the host's
    assert (outside / "secret").read_text() == "untouched"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_cp_of_a_stopped_box_does_not_run_its_command(
    boxlite: Boxlite, alpine_rootfs: Path, tree: Path, tmp_path: Path
) -> None:
    image = "localhost/nobodys:1"
    boxlite("import", "-q", "-c", "USER nobody", str(alpine_rootfs), image, check=True)
    boxlite("create", "--name", "job", image, "sh", "-c", "cat /in; exit 3", check=True)
    boxlite("cp", str(tree / "file"), "job:/in", check=True)
    assert boxlite.out("ls", "-a", "--format", "{{.Status}}").startswith("configured")
    done = boxlite("start", "-a", "job")
    assert (done.returncode, done.stdout) == (3, b"file\n")
    assert boxlite("cp", "job:/nope", str(tmp_path)).returncode == 1
    boxlite("cp", "job:/in", str(tmp_path / "back"), check=True)
    assert (tmp_path / "back").read_text() == "file\n"
    assert boxlite.out("ls", "-a", "--format", "{{.Status}}").startswith("stopped (3)")
    with tarfile.open(fileobj=io.BytesIO(boxlite("cp", "job:/in", "-", check=True).stdout)) as archive:
        assert archive.getmember("in").uid == 65534  # as the user its command runs as


def test_cp_between_boxes_passes_the_host_by(boxlite: Boxlite, box: str, alpine: str) -> None:
    boxlite("create", "--name", "other", alpine, check=True)
    sh(boxlite, "mkdir -p /srv/dir; echo one > /srv/dir/f")
    boxlite("cp", "web:/srv/dir", "other:/made", check=True)
    boxlite("cp", "other:/made/dir/f", "web:/srv/again", check=True)
    boxlite("cp", "web:/srv/again", "web:/srv/third", check=True)
    assert sh(boxlite, "cat /srv/again /srv/third") == "one\none"


def test_box_that_ends_under_a_copy_is_copied_from_and_to_all_the_same(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    """Whether the copy meets the command, its end, or the machine's."""
    boxlite(
        "create", "--name", "brief", alpine, "sh", "-c", "echo again >> /root/runs; sleep 0.1", check=True
    )
    copies = [
        ("brief:/root/runs", str(tmp_path)),
        (str(Path(__file__)), "brief:/root/file"),
        ("brief:/etc/apk", "-"),
        ("brief:/etc/apk", "brief:/root/"),
    ]
    for number, (source, target) in enumerate(copies * 2):
        boxlite("start", "brief", check=True)
        time.sleep(0.05 * number)
        boxlite("cp", source, target, check=True)
    boxlite("cp", "brief:/root/.", str(tmp_path / "all"), check=True)
    assert (tmp_path / "all" / "runs").read_text() == "again\n" * 2 * len(copies)
    assert (tmp_path / "all" / "file").read_bytes() == Path(__file__).read_bytes()
    assert (tmp_path / "all" / "apk").is_dir()
