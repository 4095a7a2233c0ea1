"""The jail's control groups of version 2, tried on a kernel that has them: that of a box, with the host's own Python in it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite

PYTHON = Path("/usr/bin/python3")
SOURCES = Path(__file__).resolve().parents[2]
LINKS = ("bin", "lib", "lib64")

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(
        not (PYTHON.exists() and all(Path(f"/{name}").is_symlink() for name in LINKS)),
        reason="needs the distribution's Python, with /usr merged",
    ),
]


def make_frame(path: Path) -> None:
    """A root file system that is nothing but the way to /usr, which will be mounted."""
    with tarfile.open(path, "w") as tar:
        for name in LINKS:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
        for name in ("usr", "src", "groups", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)


def test_memory_processes_and_processor_time_of_real_processes_are_limited(
    boxlite: Boxlite, tmp_path: Path
) -> None:
    make_frame(tmp_path / "frame.tar")
    boxlite("import", str(tmp_path / "frame.tar"), "localhost/frame", check=True)
    script = (
        "mount -t cgroup2 none /groups && cd /src && exec python3 -m tests.framework.cgroup_trial /groups"
    )
    done = boxlite(
        "run", "--rm", "--privileged", "--network", "disabled", "-m", "1g",
        "-v", "/usr:/usr:ro", "-v", f"{SOURCES}:/src:ro", "-e", "PYTHONDONTWRITEBYTECODE=1",
        "localhost/frame", "sh", "-c", script,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["memory"] == ["v2", -9, True]
    kind, forked = told["processes"]
    assert kind == "v2" and 5 <= forked <= 7, "eight processes, one of them the one that forks"
    assert told["cpu"] == ["v2", True]
    assert told["cpu seconds"] < 1.5, "two seconds at a quarter of a processor, and what it took before"
    assert told["free"] == ["v2", 0]
    assert told["io"] == "50"
    assert told["left"] == []
