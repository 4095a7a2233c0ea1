"""A home of the test's own, and real files that tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.layout import Layout

ROOT = Path(__file__).parents[2]
ALPINE_NAME = "alpine-minirootfs-3.20.3-x86_64.tar.gz"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "home")
    found.ensure()
    return found


@pytest.fixture(scope="session")
def alpine_rootfs() -> Path:
    """Alpine's own root file system, where it has been put."""
    shared = os.environ.get("BOXLITE_TEST_IMAGES")
    directory = Path(shared) if shared else ROOT.parent / "shared" / "images"
    path = directory / ALPINE_NAME
    if not path.exists():
        pytest.skip(f"{path} is not there (BOXLITE_TEST_IMAGES says where to look)")
    return path
