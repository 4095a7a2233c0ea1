"""The blocks marked `sh` in the documentation do what the pages say, in their order, page by page."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.framework.boxes import ALPINE_ENV
from tests.framework.cli import Boxlite
from tests.framework.image_builder import build_image
from tests.framework.registry import RunningRegistry

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if BLOCK.search(path.read_text()))


@pytest.fixture(scope="module")
def configuration(
    registry: RunningRegistry, alpine_rootfs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A configuration in which Docker Hub is the tests' registry."""
    config = {"Cmd": ["/bin/sh"], "Env": ALPINE_ENV}
    image = build_image([gzip.decompress(alpine_rootfs.read_bytes())], config=config)
    host = registry.push("library/alpine", "3.20", image).partition("/")[0]
    path = tmp_path_factory.mktemp("docs") / "config.yaml"
    path.write_text(f"image_registries:\n- host: docker.io\n  mirrors: [{host}]\n")
    return path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_of_a_page_run_as_they_are_written(
    boxlite: Boxlite, configuration: Path, page: Path, tmp_path: Path
) -> None:
    program = tmp_path / "bin/boxlite"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m boxlite_cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "work-dir").mkdir()
    environment = boxlite.environment(
        PATH=f"{program.parent}:{os.environ['PATH']}", PYTHONPATH=str(ROOT), BOXLITE_CONFIG=str(configuration)
    )
    script = "set -euo pipefail\nset -x\n" + "\n".join(BLOCK.findall(page.read_text()))
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment,
        cwd=tmp_path / "work-dir",
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert "Error: internal" not in done.stderr
    left = boxlite.out("ls", "-a", "--format", "{{.Names}}")
    assert left == "", "a page removes the boxes it makes"
