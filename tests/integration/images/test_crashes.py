"""A pull that is killed at any moment leaves a sound store, and the next one goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path

from engine.disks.base import ensure_base
from engine.images.pull import pull
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import RuntimeConfig
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import build_image, file
from tests.framework.registry import RunningRegistry

ROOT = Path(__file__).parents[3]
SCRIPT = """
import asyncio, sys
from pathlib import Path
from engine.disks.base import ensure_base
from engine.images.pull import pull
from engine.layout import Layout
from engine.model import RuntimeConfig
async def main():
    layout = Layout(Path(sys.argv[1]))
    image = await pull(layout, RuntimeConfig(), sys.argv[2])
    await ensure_base(layout, image, size_gb=1)
asyncio.run(main())
"""


async def test_pull_killed_at_any_moment_leaves_a_sound_store(
    layout: Layout, registry: RunningRegistry
) -> None:
    content = os.urandom(3_000_000)
    built = build_image(
        [[file(f"layer-{number}", content[number:])] for number in range(5)], compression="none"
    )
    reference = registry.push("killed", "v1", built)
    moments = random.Random(7)
    for _ in range(12):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SCRIPT,
            str(layout.home),
            reference,
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        await asyncio.sleep(moments.uniform(0.2, 1.2))
        if process.returncode is None:
            process.kill()
        await process.communicate()
        blobs = layout.images_dir / "blobs" / "sha256"
        for blob in blobs.iterdir() if blobs.exists() else ():
            if not blob.name.startswith("."):
                assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
        for image in await ImageStore(layout).list_images():
            assert image.manifest_digest == built.digest
    image = await pull(layout, RuntimeConfig(), reference)
    disk = await ensure_base(layout, image, size_gb=1)
    Ext4Image(disk.base_path).check()
    assert Ext4Image(disk.base_path).read("/layer-4") == content[4:]
