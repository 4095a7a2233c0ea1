"""The tar streams between host and box: what is written is what others read, what others write is read, and what makes no
sense is refused."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from guest.wire.tar import END_OF_ARCHIVE, MAX_REGIONS, Entry, TarError, encode, padding
from guest.wire.tarpack import TreePacker
from guest.wire.tarread import TarReader

MIB = 1024 * 1024
HOLES = ((4096, 4096), (2 * MIB, 5000))
SEED = 20240601
MUTATIONS = 2000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a bit of everything that needs no privilege."""
    top = tmp_path / "tree"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / ("n" * 120)).write_text("long")
    (top / "empty").touch()
    (top / "plain").write_bytes(b"p" * 70_000)
    (top / "link").symlink_to("t" * 120)
    os.link(top / "plain", top / "sub" / "again")
    os.mkfifo(top / "fifo")
    with (top / "sparse").open("wb") as file:
        file.truncate(4 * MIB)
        for offset, size in HOLES:
            file.seek(offset)
            file.write(b"x" * size)
    os.utime(top / "empty", ns=(1_111_111_111_222_333_444, 1_111_111_111_222_333_444))
    return top


def packed(path: Path) -> bytes:
    stream = io.BytesIO()
    packer = TreePacker(stream)
    packer.pack(os.fsencode(path), os.fsencode(path.name))
    packer.finish()
    return stream.getvalue()


def read_all(stream: bytes) -> dict[bytes, tuple[Entry, bytes]]:
    """Every entry with its stored content."""
    reader = TarReader(io.BytesIO(stream))
    return {entry.path.rstrip(b"/"): (entry, reader.whole()) for entry in reader}


def with_content(entry: Entry, content: bytes) -> bytes:
    return encode(entry) + content + padding(len(content)) + END_OF_ARCHIVE


def test_stream_of_ours_is_read_back_as_it_was(tree: Path) -> None:
    found = read_all(packed(tree))
    assert set(found) == {
        b"tree" + os.fsencode(str(path).removeprefix(str(tree))) for path in (tree, *tree.rglob("*"))
    }
    entry, content = found[b"tree/sparse"]
    assert entry.size == 4 * MIB and len(content) < MIB
    assert entry.regions is not None and (0, 4096) not in entry.regions
    assert found[b"tree/empty"][0].mtime_ns == 1_111_111_111_222_333_444
    assert found[b"tree/sub/again"][0].link == b"tree/plain"
    assert found[b"tree/link"][0].link == b"t" * 120


def test_stream_of_ours_is_read_by_python_and_by_tar(tree: Path, tmp_path: Path) -> None:
    stream = packed(tree)
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        sparse = archive.extractfile("tree/sparse")
        assert sparse is not None and sparse.read() == (tree / "sparse").read_bytes()
        assert archive.getmember(f"tree/sub/{'n' * 120}").size == 4
    if shutil.which("tar") is None:
        pytest.skip("there is no tar")
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(["tar", "-x", "-C", str(out)], input=stream, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (
        subprocess.run(
            ["diff", "-r", "--no-dereference", "-x", "fifo", str(tree), str(out / "tree")]
        ).returncode
        == 0
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--format=v7"], ["--format=oldgnu"], ["--format=gnu"], ["--format=ustar"], ["--format=posix"],
        ["--format=gnu", "--sparse"], ["--format=posix", "--sparse", "--sparse-version=0.0"],
        ["--format=posix", "--sparse", "--sparse-version=0.1"], ["--format=posix", "--sparse", "--sparse-version=1.0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_archive_of_every_form_is_read(tree: Path, tmp_path: Path, options: list[str]) -> None:
    if shutil.which("tar") is None:
        pytest.skip("there is no tar")
    if "--format=v7" in options or "--format=ustar" in options:
        (tree / "link").unlink()  # too long for them
        (tree / "fifo").unlink()
        (tree / "sub" / ("n" * 120)).unlink()
    stream = subprocess.run(
        ["tar", "-c", "--sort=name", *options, "-C", str(tmp_path), "tree"], capture_output=True, check=True
    ).stdout
    reader = TarReader(io.BytesIO(stream))
    names = set()
    for entry in reader:
        names.add(entry.path.rstrip(b"/"))
        if entry.is_file:
            place = tmp_path / "written"
            with place.open("wb") as file:
                reader.copy_to(file.fileno(), entry)
            assert place.read_bytes() == (tmp_path / os.fsdecode(entry.path)).read_bytes(), entry
            assert entry.size == place.stat().st_size
    assert len(names) == 1 + len(list(tree.rglob("*")))


def sparse(regions: tuple[tuple[int, int], ...], size: int, stored: int) -> bytes:
    return with_content(Entry(path=b"box", size=size, regions=regions), bytes(stored))


def with_pax(**records: bytes) -> bytes:
    body = b""
    for key, value in records.items():
        line = b" %s=%s\n" % (key.replace("__", ".").encode(), value)
        length = len(line) + 2
        body += b"%d%s" % (length if len(str(length)) == 2 else length + 1, line)
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(body)
    return (
        header.tobuf(tarfile.GNU_FORMAT) + body + padding(len(body)) + with_content(Entry(path=b"box"), b"")
    )


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (sparse(((0, 10), (5, 10)), 100, 20), "overlap"),
        (sparse(((0, 10), (95, 10)), 100, 20), "overlap"),
        (with_pax(GNU__sparse__map=b"0,10", GNU__sparse__size=b"10", GNU__sparse__name=b"x"), "add up"),
        (with_pax(GNU__sparse__map=b"0,1,2", GNU__sparse__size=b"9"), "malformed map"),
        (with_pax(GNU__sparse__map=b"-1,1", GNU__sparse__size=b"9"), "numbers"),
        (with_pax(GNU__sparse__major=b"1", GNU__sparse__realsize=b"9"), "no end"),
        (with_pax(GNU__sparse__map=b"0,0", GNU__sparse__size=b"9" * 20), "size"),
        (with_pax(size=b"9" * 20), "size"),
        (with_pax(uid=b"4294967295"), "owner"),
        (with_pax(mtime=b"9" * 18), "time"),
        (with_pax(mtime=b"nan"), "numbers"),
        (with_pax(path=b"a\0b"), "zero byte"),
        (with_pax(linkpath=b"a\0b"), "zero byte"),
        (with_pax(SCHILY__xattr__user__a=b"x" * 70_000), "malformed|attributes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers_that_make_no_sense_are_refused(stream: bytes, said: str) -> None:
    with pytest.raises(TarError, match=said):
        read_all(stream)


def test_sparse_map_without_end_is_not_read_into_memory() -> None:
    entry = Entry(path=b"box", size=1 << 40, regions=((0, 0),))
    head = bytearray(encode(entry))
    head[-512:] = b"1" * 512
    with pytest.raises(TarError, match=r"numbers|no end"):
        read_all(bytes(head) + b"1" * 4096)
    head[-512:] = (b"%d\n" % (MAX_REGIONS + 1)).ljust(512, b"0")
    with pytest.raises(TarError, match="pieces"):
        read_all(bytes(head))


def test_extended_headers_without_end_are_refused() -> None:
    header = tarfile.TarInfo("pax")
    header.type = tarfile.XHDTYPE
    with pytest.raises(TarError, match="without end"):
        read_all(header.tobuf(tarfile.GNU_FORMAT) * 50)


@pytest.mark.parametrize("cut", [1, 511, 513, 1500, 5000])
def test_stream_that_ends_early_is_refused(tree: Path, cut: int) -> None:
    with pytest.raises(TarError):
        read_all(packed(tree / "plain")[:cut])


def test_damaged_streams_are_read_or_refused_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    original = packed(tree)[: 64 * 1024]
    changes: tuple[Callable[[bytearray, int], None], ...] = (
        lambda data, at: data.__setitem__(at, chance.randrange(256)),
        lambda data, at: data.__delitem__(slice(at, at + chance.randrange(1, 600))),
        lambda data, at: data.__setitem__(slice(at, at + 8), b"\xff" * 8),
        lambda data, at: data.__setitem__(slice(at, at + 12), b"77777777777\0"),
    )
    with (tmp_path / "sink").open("wb") as sink:
        for _ in range(MUTATIONS):
            data = bytearray(original)
            for _ in range(chance.randrange(1, 4)):
                chance.choice(changes)(data, chance.randrange(0, 8192))
            data = resummed(data)
            reader = TarReader(io.BytesIO(bytes(data)))
            try:
                for entry in reader:
                    if entry.is_file and entry.size < MIB:
                        reader.copy_to(sink.fileno(), entry)
            except TarError:
                continue


def resummed(data: bytearray) -> bytearray:
    """With the sums of headers set right where there may be headers, so that what is behind them is looked at."""
    for at in range(0, min(len(data), 16384) - 512, 512):
        header = data[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return data
