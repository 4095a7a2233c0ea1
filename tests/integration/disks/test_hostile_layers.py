"""Every hostile archive as the layer of an image: an error or a disk, and nothing anywhere else.

The archives are those of `tests/unit/disks/test_hostile_archives.py` (refused and harmless); hostile streams are there too,
hostile registries in `tests/integration/images/test_network.py`, hostile image archives in `test_archives.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.disks.base import base_keys, ensure_base
from engine.errors import BoxliteError
from engine.layout import Layout
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import build_image, file, layer_tar
from tests.framework.stored import store_image
from tests.unit.disks.test_hostile_archives import HARMLESS, REFUSED

LEAST_INPUTS = 40
LOWER = layer_tar([file("etc/passwd", b"of the image")])


async def test_hostile_layers_leave_nothing_outside_the_store(layout: Layout, tmp_path: Path) -> None:
    assert len(REFUSED) + len(HARMLESS) >= LEAST_INPUTS
    before = seen(tmp_path, layout.home)
    watched = [Path("/etc/passwd"), Path("/etc")]
    times = [path.stat().st_mtime_ns for path in watched]
    for number, (name, (archive, _)) in enumerate({**REFUSED, **HARMLESS}.items()):
        image = await store_image(layout, build_image([LOWER, archive]), f"localhost/hostile-{number}")
        try:
            disk = await ensure_base(layout, image, size_gb=1)
        except BoxliteError as error:
            assert name in REFUSED, f"{name}: {error}"
            assert f"localhost/hostile-{number}" in error.message, name
        else:
            assert name in HARMLESS, name
            Ext4Image(disk.base_path).check()
    assert len(base_keys(layout)) == len(HARMLESS)
    assert os.listdir(layout.tmp_dir) == []
    assert seen(tmp_path, layout.home) == before
    assert [path.stat().st_mtime_ns for path in watched] == times


def seen(directory: Path, home: Path) -> set[Path]:
    """Everything below the directory but what the home holds."""
    return {path for path in directory.rglob("*") if not path.is_relative_to(home)}
