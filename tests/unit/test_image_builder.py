"""The archives that tests are made of are those that tarfile would write."""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.framework.image_builder import Entry, file, folder, layer_tar, symlink, tarfile_header

ENTRIES = [
    file("a", b"12345"),
    folder("d/", mode=0o1777),
    folder("d/e", gid=5, uid=6),
    file(b"bytes", b"1" * 512, uid=0o7777777, gid=0o7777777, mtime=3),
    file(b"latin-\xe9"),
    file("n" * 150, gid=1 << 30),
    file("fraction", mtime=1.5),
    file("x", xattrs={"user.a": b"1"}),
    symlink("l", "a"),
    Entry(name="null", kind=tarfile.CHRTYPE, device=(1, 3)),
]


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_archive_is_that_of_tarfile(tar_format: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for entry in ENTRIES:
            header = tarfile_header(entry, tar_format)
            out.write(header + entry.content + bytes(-len(entry.content) % tarfile.BLOCKSIZE))
            tar.offset = out.tell()
    assert layer_tar(ENTRIES, tar_format=tar_format) == out.getvalue()
