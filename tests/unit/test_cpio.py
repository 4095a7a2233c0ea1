"""The initramfs archives, read back by the cpio program."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from engine.vmm.cpio import CpioEntry, build_cpio, directory, regular_file


@pytest.mark.skipif(shutil.which("cpio") is None, reason="the cpio program reads the archive back")
def test_build_cpio_two_archives_in_a_row_both_extract(tmp_path: Path) -> None:
    first = build_cpio([directory("bin"), regular_file("bin/tool", b"x" * 4097, mode=0o755)])
    second = build_cpio([CpioEntry(path="link", mode=stat.S_IFLNK | 0o777, content=b"bin/tool")])

    for archive in (first, second):
        subprocess.run(["cpio", "--extract", "--quiet"], input=archive, cwd=tmp_path, check=True)

    assert (tmp_path / "bin/tool").read_bytes() == b"x" * 4097
    assert stat.S_IMODE((tmp_path / "bin/tool").stat().st_mode) == 0o755
    assert (tmp_path / "link").readlink() == Path("bin/tool")


def test_build_cpio_same_entries_give_same_bytes() -> None:
    entries = [directory("a"), regular_file("a/b", b"content")]

    assert build_cpio(entries) == build_cpio(entries)
    assert len(build_cpio(entries)) % 4 == 0
