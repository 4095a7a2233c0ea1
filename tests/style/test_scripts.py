"""The scripts for people: they parse, they may be started from anywhere, they say what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = (
    "scripts/quickstart", "scripts/test", "scripts/check", "scripts/generate", "scripts/release-notes", ".ci/run",
)  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_parses_is_executable_and_stops_at_the_first_error(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines[1].startswith("# ")
    assert "set -euo pipefail" in lines
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_host_programs_names_nothing_that_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(ROOT / "scripts/lib/host_programs.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mke2fs" not in done.stdout
    assert all(line.split()[0] in ("main", "backports", "hint") for line in done.stdout.splitlines())


def test_busybox_image_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    for target in (first, second):
        subprocess.run([sys.executable, str(ROOT / "scripts/lib/busybox_image.py"), str(target)], check=True)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        assert tar.getmember("bin/sh").linkname == "/bin/busybox"
        assert tar.getmember("tmp").mode == 0o1777
