"""Images of every kind that a box has to show as their layers say: what real builders make, and what they could."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.framework.image_builder import (
    Entry,
    file,
    folder,
    hardlink,
    layer_tar,
    opaque,
    symlink,
    whiteout,
)
from tests.framework.tree_model import Huge

CAP_NET_RAW = 13
LONG = "n" * 255
DEEP = "/".join(["directory-of-thirty-characters"] * 12)


@dataclass(frozen=True, kw_only=True)
class Case:
    """`archives` are the layers where they are not simply those of `layers` written down."""

    name: str
    layers: Sequence[Sequence[Entry]]
    archives: Sequence[bytes] | None = None
    huge: Mapping[bytes, Huge] = field(default_factory=dict)
    compression: str = "gzip"
    flavour: str = "oci"
    tar_format: int = tarfile.PAX_FORMAT

    def layer_archives(self) -> list[bytes]:
        if self.archives is not None:
            return list(self.archives)
        return [layer_tar(layer, tar_format=self.tar_format) for layer in self.layers]


def capability(number: int) -> bytes:
    """`security.capability` with one capability permitted and effective (capabilities(7), VFS_CAP_REVISION_2)."""
    return struct.pack("<IIIII", 0x02000001, 1 << number, 0, 0, 0)


def cases(scratch: Path) -> Iterator[Case]:
    plain = [
        folder("d", mode=0o750, uid=7, gid=8),
        file("d/f", b"text\n" * 99),
        symlink("l", "d/f"),
        file("empty"),
    ]
    for compression in ("gzip", "zstd", "none"):
        yield Case(
            name=f"oci-{compression}",
            layers=[plain],
            compression=compression,
        )
    yield Case(name="docker-schema-2", layers=[plain, [file("d/g", b"2")]], flavour="docker")
    yield from _formats()
    yield from _contents(scratch)
    yield from _links()
    yield from _whiteouts()
    yield from _attributes()
    yield from _layers()


def _formats() -> Iterator[Case]:
    long_names = [
        folder(DEEP),
        file(f"{DEEP}/{'x' * 90}", b"far"),
        symlink("long-link", f"{DEEP}/{'y' * 120}"),
    ]
    yield Case(name="gnu-long-names", layers=[long_names], tar_format=tarfile.GNU_FORMAT)
    yield Case(
        name="pax-names-of-255-bytes", layers=[[*long_names, file(LONG, b"255"), folder("\N{SNOWMAN}" * 85)]]
    )
    yield Case(
        name="ustar",
        layers=[[folder("a"), file("a/b", b"c", uid=0o7777777)]],
        tar_format=tarfile.USTAR_FORMAT,
    )
    odd = [file(b"latin-\xe9", b"1"), folder(b"\xff\xfe"), file(b"\xff\xfe/\x80", b"2"), symlink(b"to-\xff", b"\xff\xfe/\x80"),
           file("new\nline", b"3"), file('quote"back\\slash', b"4"), file(" space ", b"5"), file("-dash", b"6")]  # fmt: skip
    yield Case(name="names-not-utf-8", layers=[odd], tar_format=tarfile.GNU_FORMAT)
    yield Case(
        name="foreign-order",
        layers=[
            [
                file("a/b/c", b"first"),
                folder("z"),
                folder("a/b", mode=0o700, uid=5),
                file("z/last", b"l"),
                folder("a", mode=0o711),
                file("./dotted/./path//x", b"x"),
                file("a/b/c", b"again", mode=0o600),
            ]
        ],
    )
    yield Case(
        name="no-entries-for-directories", layers=[[file("usr/lib/x/y", b"1")], [file("usr/lib/z", b"2")]]
    )


def _contents(scratch: Path) -> Iterator[Case]:
    sizes = [file(f"size-{size}", b"s" * size) for size in (0, 1, 511, 512, 513, 4095, 4096, 4097, 1_000_003)]
    yield Case(name="sizes", layers=[sizes])
    holes = scratch / "holes"
    holes.mkdir()
    with (holes / "sparse").open("wb") as out:
        out.truncate(5 << 20)
        for place in (0, 1 << 20, (4 << 20) + 7):
            out.seek(place)
            out.write(b"data" * 1000)
    (holes / "only-a-hole").touch()
    os.truncate(holes / "only-a-hole", 3 << 20)
    contents = {path.name: path.read_bytes() for path in sorted(holes.iterdir())}
    layer = [file(name, content, mode=0o644) for name, content in contents.items()]
    for name, words in {
        "sparse-gnu": ["--format=gnu"],
        "sparse-pax-0.0": ["--format=pax", "--sparse-version=0.0"],
        "sparse-pax-0.1": ["--format=pax", "--sparse-version=0.1"],
        "sparse-pax-1.0": ["--format=pax", "--sparse-version=1.0"],
    }.items():
        yield Case(name=name, layers=[layer], archives=[_by_tar(holes, [*words, *contents])])
    eight = scratch / "eight"
    eight.mkdir()
    with (eight / "big").open("wb") as out:
        out.truncate((8 << 30) - 1)
        out.seek(0, 2)
        out.write(b"!")
    yield Case(
        name="file-of-8-gib",
        layers=[[file("big")]],
        archives=[_by_tar(eight, ["--format=pax", "big"])],
        huge={b"big": Huge(size=8 << 30, last=b"!")},
    )


def _by_tar(directory: Path, words: Sequence[str]) -> bytes:
    """What GNU tar makes of files with holes."""
    argv = ("tar", "--sparse", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@1700000000", "--mode=0644",
            "-C", str(directory), "-c", *words)  # fmt: skip
    return subprocess.run(argv, capture_output=True, check=True).stdout


def _links() -> Iterator[Case]:
    yield Case(
        name="hard-links",
        layers=[
            [
                folder("d"),
                file("d/a", b"one"),
                hardlink("b", "d/a"),
                hardlink("d/c", "b"),
                file("alone", b"x"),
            ]
        ],
    )
    yield Case(
        name="hard-links-across-layers",
        layers=[
            [file("low", b"low"), file("goes", b"goes")],
            [hardlink("up", "low"), hardlink("kept", "goes"), file("low2", b"")],
            [whiteout("goes"), hardlink("up2", "up")],
        ],
    )
    yield Case(
        name="hard-link-whose-target-is-replaced",
        layers=[[file("a", b"old"), hardlink("b", "a")], [file("a", b"new")]],
    )
    yield Case(
        name="symbolic-links",
        layers=[
            [
                symlink("dangling", "/no/such"),
                symlink("loop", "loop"),
                symlink("up", "../../../.."),
                symlink("long", "t" * 1000),
                symlink("owned", "x", uid=3, gid=4),
            ]
        ],
    )


def _whiteouts() -> Iterator[Case]:
    low = [
        folder("d"),
        file("d/a", b"a"),
        file("d/b", b"b"),
        folder("d/e"),
        file("d/e/f", b"f"),
        file("top", b"t"),
    ]
    yield Case(name="whiteout", layers=[low, [whiteout("d/a"), whiteout("d/e"), whiteout("top")]])
    yield Case(
        name="whiteout-after-its-replacement",
        layers=[low, [file("top", b"new"), whiteout("top"), file("d/a", b"x"), whiteout("d/a")]],
    )
    yield Case(name="whiteout-of-nothing", layers=[low, [whiteout("nothing"), whiteout("d/nothing")]])
    for order in ("first", "last"):
        new = [folder("d", mode=0o700), file("d/new", b"n")]
        mark = [opaque("d")]
        yield Case(name=f"opaque-{order}", layers=[low, [*mark, *new] if order == "first" else [*new, *mark]])
    yield Case(
        name="opaque-below-opaque",
        layers=[low, [opaque("d"), folder("d/e"), opaque("d/e"), file("d/e/g", b"g")]],
    )
    yield Case(
        name="kinds-replaced",
        layers=[
            [
                folder("dir"),
                file("dir/x", b"x"),
                file("file", b"f"),
                symlink("link", "file"),
                folder("stays"),
                file("stays/s", b"s"),
            ],
            [
                file("dir", b"now a file"),
                folder("file"),
                file("file/y", b"y"),
                file("link", b"no link"),
                folder("stays", mode=0o700),
            ],
        ],
    )
    yield Case(
        name="removed-and-made-again",
        layers=[low, [whiteout("d")], [folder("d", mode=0o711), file("d/a", b"3")]],
    )


def _attributes() -> Iterator[Case]:
    yield Case(
        name="modes-and-owners",
        layers=[
            [
                file("setuid", b"x", mode=0o4755),
                file("setgid", b"x", mode=0o2755, gid=50),
                folder("sticky", mode=0o1777),
                folder("shared", mode=0o2770, gid=100),
                file("secret", b"x", mode=0o000),
                file("wide", b"x", uid=65534, gid=65534),
                file("huge-owner", b"x", uid=4_294_967_294, gid=2_147_483_648),
            ]
        ],
    )
    yield Case(
        name="times",
        layers=[
            [
                file("epoch", mtime=0),
                file("nanoseconds", pax={"mtime": "1700000000.123456789"}),
                file("past-2038", mtime=4_102_444_800),
                folder("before-1970", pax={"mtime": "-86400.5"}),
            ]
        ],
    )
    yield Case(
        name="xattrs",
        layers=[
            [
                file("f", b"x", xattrs={"user.text": b"v", "user.binary": b"a\0b=c\n"}),
                folder("d", xattrs={"user.d": b"1"}),
                file("many", xattrs={f"user.{number}": b"v" * number for number in range(1, 40)}),
            ],
            [file("d/over", xattrs={"user.over": b"2"})],
        ],
    )
    yield Case(
        name="xattr-that-is-empty", layers=[[file("f", b"x", xattrs={"user.empty": b"", "user.a": b"1"})]]
    )
    yield Case(
        name="file-capabilities",
        layers=[[file("ping", b"x", mode=0o755, xattrs={"security.capability": capability(CAP_NET_RAW)})]],
    )
    no_owner = 0xFFFFFFFF
    rules = [
        (0x01, 6, no_owner),
        (0x02, 4, 1234),
        (0x04, 4, no_owner),
        (0x10, 4, no_owner),
        (0x20, 0, no_owner),
    ]
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *rule) for rule in rules)
    yield Case(
        name="access-lists",
        layers=[
            [
                file("f", b"x", mode=0o640, xattrs={"system.posix_acl_access": access}),
                folder("d", mode=0o750, xattrs={"system.posix_acl_default": access}),
            ]
        ],
    )
    yield Case(
        name="devices",
        layers=[
            [
                Entry(name="null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
                Entry(name="loop", kind=tarfile.BLKTYPE, device=(7, 0), mode=0o660, gid=6),
                Entry(name="far", kind=tarfile.CHRTYPE, device=(300, 70_000), mode=0o600),
                Entry(name="fifo", kind=tarfile.FIFOTYPE, mode=0o600, uid=9),
            ]
        ],
        tar_format=tarfile.GNU_FORMAT,
    )


def _layers() -> Iterator[Case]:
    many = [
        [file(f"layer/{number}", str(number).encode()), file("same", str(number).encode())]
        for number in range(126)
    ]
    yield Case(name="127-layers", layers=many)
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w"):
        pass
    yield Case(
        name="empty-layers",
        layers=[[], [file("a", b"1")], [], []],
        archives=[bytes(1024), layer_tar([file("a", b"1")]), empty.getvalue(), bytes(10240)],
    )
    yield Case(
        name="wide-directory", layers=[[folder("wide"), *(file(f"wide/{n}", b"%d" % n) for n in range(3000))]]
    )
    yield Case(
        name="4000-files",
        layers=[[file(f"d{number % 100}/f{number}", b"%d" % number) for number in range(4_000)]],
    )
