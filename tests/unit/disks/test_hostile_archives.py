"""Archives made to break something: each is an error that says what is wrong, or harmless."""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from engine.disks.merge import Tree
from engine.disks.spool import spool_archive
from engine.disks.tar_reader import iter_entries
from engine.errors import BoxliteError, ImageError, ResourceExhaustedError, UnsupportedError
from tests.framework.image_builder import Entry, file, folder, hardlink, layer_tar, symlink, whiteout

BLOCK = 512


def merged(archive: bytes, *lower: bytes) -> Tree:
    tree = Tree()
    for number, layer in enumerate((*lower, archive)):
        with tempfile.TemporaryFile() as spool:
            spool.write(layer)
            spool.flush()
            tree.apply(number, iter_entries(spool.fileno(), len(layer), what="layer"), what="layer")
    return tree


def paths(tree: Tree) -> set[bytes]:
    return {path for path, _ in tree.walk()}


def header(**changes: bytes) -> bytes:
    """A header of one empty file, fields replaced, its checksum right."""
    block = bytearray(layer_tar([file("f")], tar_format=tarfile.USTAR_FORMAT)[:BLOCK])
    places = {
        "name": 0,
        "mode": 100,
        "uid": 108,
        "gid": 116,
        "size": 124,
        "mtime": 136,
        "kind": 156,
        "link": 157,
        "major": 329,
        "prefix": 345,
    }
    for field, value in changes.items():
        block[places[field] : places[field] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(*records: bytes) -> bytes:
    body = b"".join(records)
    return header(kind=b"x", size=b"%011o\0" % len(body)) + body + bytes(-len(body) % BLOCK)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


END = bytes(2 * BLOCK)
REFUSED: dict[str, tuple[bytes, str]] = {
    "random bytes": (os.urandom(4096), "damaged"),
    "text": (b"#!/bin/sh\n" * 200, "damaged"),
    "header cut short": (header()[:300], "truncated"),
    "wrong checksum": (header()[:148] + b"000001\0 " + header()[156:], "wrong checksum"),
    "data cut short": (header(size=b"00000010000\0") + b"x" * 100, "reach past its end"),
    "size of 8 EiB": (header(size=b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7), "reach past its end"),
    "negative size": (header(size=b"\xff" * 12), "negative size"),
    "size that is no number": (header(size=b"1x000000000\0"), "is not a number"),
    "size with digits of another base": (header(size=b"99999999999\0"), "is not a number"),
    "negative owner": (header(uid=b"\xff" * 8), "negative uid"),
    "owner beyond 32 bits": (header(uid=b"\x80\0\0\1\0\0\0\0"), "larger than any user"),
    "pax size negative": (pax(record(b"size", b"-1")) + header(), "is not a number"),
    "pax size huge": (pax(record(b"size", b"9" * 19)) + header(), "reach past its end"),
    "pax size of 4000 digits": (pax(record(b"size", b"9" * 4000)) + header(), "is not a number"),
    "pax time that is no number": (pax(record(b"mtime", b"now")) + header(), "is not a number"),
    "pax record with a length of 0": (pax(b"0 a=b\n") + header(), "malformed record"),
    "pax record reaching out": (pax(b"999 a=b\n") + header(), "malformed record"),
    "pax record without a newline": (pax(b"6 a=bc") + header(), "malformed record"),
    "pax record without a key": (pax(b"5 =b\n") + header(), "malformed record"),
    "pax record with a negative length": (pax(b"-5 a=b\n") + header(), "malformed record"),
    "pax path with a zero byte": (pax(record(b"path", b"a\0b")) + header(), "zero byte"),
    "pax header of a gigabyte": (header(kind=b"x", size=b"07777777777\0"), "reach past its end"),
    "pax header over the limit": (header(kind=b"x", size=b"%011o\0" % (2 << 20)) + bytes(2 << 20), "is longer than"),
    "long name over the limit": (header(kind=b"L", size=b"%011o\0" % (2 << 20)) + bytes(2 << 20), "is longer than"),
    "unknown kind": (header(kind=b"Z"), "unknown kind"),
    "multi-volume part": (header(kind=b"M"), "unknown kind"),
    "name of 300 bytes": (layer_tar([file("x" * 300)]), "longer than 255 bytes"),
    "path of 5000 bytes": (layer_tar([file("/".join(["d" * 99] * 50))]), "longer than 4095 bytes"),
    "hard link to nothing": (layer_tar([hardlink("a", "missing")]), "does not exist"),
    "hard links in a circle": (layer_tar([hardlink("a", "b"), hardlink("b", "c"), hardlink("c", "a")]), "does not exist"),
    "hard link to itself": (layer_tar([hardlink("a", "a")]), "does not exist"),
    "hard link to a directory": (layer_tar([folder("d"), hardlink("a", "d")]), "to a directory"),
    "hard link to the root": (layer_tar([hardlink("a", "/")]), "does not exist"),
    "symbolic link to nothing at all": (header(kind=b"2"), "0 bytes"),
    "symbolic links in a circle": (layer_tar([symlink("a", "b"), symlink("b", "a"), file("a/x")]), "in a circle"),
    "symbolic link to itself": (layer_tar([symlink("a", "a"), file("a/x")]), "in a circle"),
    "whiteout of the parent": (layer_tar([file("d/.wh...")]), "is no name"),
    "whiteout of nothing": (layer_tar([file("d/x"), file("d/.wh.")]), "is no name"),
    "device with an impossible number": (header(kind=b"3", major=b"7777777\0"), "impossible number"),
    "sparse map that overlaps": (
        pax(record(b"GNU.sparse.map", b"0,5,3,5"), record(b"GNU.sparse.size", b"20")) + header(size=b"%011o\0" % 10) + bytes(BLOCK), "overlap"),
    "sparse map past the end": (
        pax(record(b"GNU.sparse.map", b"100,5"), record(b"GNU.sparse.size", b"20")) + header(size=b"%011o\0" % 5) + bytes(BLOCK), "overlap"),
    "sparse map of other sizes": (
        pax(record(b"GNU.sparse.map", b"0,5"), record(b"GNU.sparse.size", b"20")) + header(size=b"%011o\0" % 9) + bytes(BLOCK), "do not add up"),
    "sparse map of odd length": (
        pax(record(b"GNU.sparse.map", b"0,5,7"), record(b"GNU.sparse.size", b"20")) + header(size=b"%011o\0" % 5) + bytes(BLOCK), "malformed map"),
    "sparse map without an end": (
        pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.realsize", b"9")) + header(size=b"%011o\0" % BLOCK) + b"7\n" + bytes(510), "is not a number|no end"),
    "sparse map of a billion pieces": (
        pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.realsize", b"9")) + header(size=b"%011o\0" % BLOCK) + b"999999999\n".ljust(BLOCK), "more than"),
    "sparse file of 8 EiB": (
        pax(record(b"GNU.sparse.map", b"0,5"), record(b"GNU.sparse.size", b"%d" % (1 << 62))) + header(size=b"%011o\0" % 5) + bytes(BLOCK), "the largest possible"),
    "attribute that is not base64": (pax(record(b"LIBARCHIVE.xattr.user.a", b"A")) + header(), "not base64"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_archive_that_breaks_the_rules_is_refused_with_the_reason(name: str) -> None:
    archive, message = REFUSED[name]
    with pytest.raises((ImageError, UnsupportedError), match=message):
        merged(archive)


HARMLESS: dict[str, tuple[bytes, set[bytes]]] = {
    "nothing": (b"", {b""}),
    "only the end": (END, {b""}),
    "no end": (header(), {b"", b"f"}),
    "rubbish after the end": (header() + END + b"rubbish", {b"", b"f"}),
    "paths that climb": (layer_tar([file("../../a"), file("b/../../../c")]), {b"", b"a", b"c"}),
    "absolute paths": (layer_tar([file("/a"), file("//b"), folder("///")]), {b"", b"a", b"b"}),
    "root that is a file": (layer_tar([file("."), file("a")]), {b"", b"a"}),
    "link that climbs": (layer_tar([symlink("l", "../../.."), file("l/a")]), {b"", b"l", b"a"}),
    "link to the host's etc": (layer_tar([symlink("l", "/etc"), file("l/passwd")]), {b"", b"l", b"etc", b"etc/passwd"}),
    "hard link that climbs": (layer_tar([file("a"), hardlink("b", "../../a")]), {b"", b"a", b"b"}),
    "hard link before its file": (layer_tar([hardlink("b", "a"), file("a")]), {b"", b"a", b"b"}),
    "directory that becomes a link": (
        layer_tar([folder("d"), file("d/x"), symlink("d", "/etc"), file("d/y")]), {b"", b"d", b"etc", b"etc/y"}),
    "file in the way of a directory": (layer_tar([file("a"), file("a/b")]), {b"", b"a", b"a/b"}),
    "whiteout of what is not there": (layer_tar([whiteout("nothing"), whiteout("no/where")]), {b""}),
    "leftovers of aufs": (layer_tar([file(".wh..wh.plnk/1"), file(".wh..wh.aufs"), file("a")]), {b"", b".wh..wh.plnk", b".wh..wh.plnk/1", b"a"}),
    "global header": (header(kind=b"g", size=b"%011o\0" % 12) + b"12 path=evil".ljust(BLOCK, b"\0") + header(), {b"", b"f"}),
    "ten thousand duplicates": (layer_tar([file("a", b"%d" % number) for number in range(10_000)]), {b"", b"a"}),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_archive_that_means_harm_does_none(name: str) -> None:
    archive, expected = HARMLESS[name]
    assert paths(merged(archive)) == expected


def test_link_in_an_upper_layer_redirects_only_inside_the_tree() -> None:
    lower = layer_tar([folder("etc"), file("etc/a", b"1"), folder("d"), file("d/x", b"2")])
    upper = layer_tar([symlink("d", "etc"), file("d/b", b"3")])
    assert paths(merged(upper, lower)) == {b"", b"etc", b"etc/a", b"etc/b", b"d"}


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.disks.merge.MAX_NODES", 100)
    with pytest.raises(ResourceExhaustedError, match="more than 100 files"):
        merged(layer_tar([file(f"f{number}") for number in range(200)]))


def test_archive_of_one_file_many_times_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.disks.spool.MAX_ENTRIES", 100)
    for count, refused in ((100, False), (101, True)):
        (tmp_path / "layer").write_bytes(gzip.compress(header() * count + bytes(2 * BLOCK)))
        with (
            pytest.raises(ResourceExhaustedError, match="more than 100 entries") if refused else nullcontext()
        ):
            spool_archive(tmp_path / "layer", tmp_path, limit_bytes=1 << 20, what="layer").close()


def zstd(content: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(content)


def test_bomb_is_stopped_at_the_cap(tmp_path: Path) -> None:
    bombs: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, zstd)
    for pack in bombs:
        (tmp_path / "bomb").write_bytes(pack(bytes(64 << 20)))
        with pytest.raises(ResourceExhaustedError, match="when decompressed"):
            spool_archive(tmp_path / "bomb", tmp_path, limit_bytes=1 << 20, what="bomb")


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(layer_tar([file("a", os.urandom(9000))]))[:-300],
        gzip.compress(b"x" * 5000)[:20] + b"rubbish" * 9,
        zstd(os.urandom(5000))[:40] + b"rubbish" * 90,
        b"BZh91AY&SY" + bytes(600),
        b"\xfd7zXZ\0" + bytes(600),
    ],
    ids=["gzip cut short", "gzip damaged", "zstd damaged", "bzip2", "xz"],
)
def test_stream_that_cannot_be_decompressed_is_refused(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "layer").write_bytes(packed)
    with pytest.raises(BoxliteError) as caught:
        spool_archive(
            tmp_path / "layer", tmp_path, limit_bytes=1 << 30, what="the layer", diff_id="sha256:" + "0" * 64
        )
    assert "the layer" in str(caught.value)


def test_gzip_of_several_members_and_padding_is_read_whole(tmp_path: Path) -> None:
    archive = layer_tar([Entry(name=f"f{number}", content=os.urandom(700)) for number in range(50)])
    parts = [gzip.compress(archive[start : start + 5000]) for start in range(0, len(archive), 5000)]
    (tmp_path / "layer").write_bytes(b"".join(parts) + bytes(100))
    spool = spool_archive(tmp_path / "layer", tmp_path, limit_bytes=1 << 30, what="layer")
    try:
        assert len(spool.entries) == 50
    finally:
        spool.close()
