"""A pull that is killed at any moment leaves a sound store, and the next one goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path

from engine.disks.base import base_key, find_base
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import DEFAULT_DISK_SIZE_GB
from engine.runtime import Runtime
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import build_image, file
from tests.framework.registry import RunningRegistry

ROOT = Path(__file__).parents[3]
SCRIPT = """
import asyncio, sys
from pathlib import Path
from engine.runtime import Runtime
async def main():
    async with Runtime(Path(sys.argv[1])) as runtime:
        await runtime.images.pull(sys.argv[2])
asyncio.run(main())
"""
"""With the disk, as the command does it: layers are decompressed while they come."""


async def test_pull_killed_at_any_moment_leaves_a_sound_store(
    layout: Layout, registry: RunningRegistry
) -> None:
    content = os.urandom(3_000_000)
    built = build_image([[file(f"layer-{number}", content[number:])] for number in range(5)])
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
    async with Runtime(layout.home) as runtime:
        image = await runtime.images.pull(reference)
    disk = find_base(layout, base_key(image.manifest_digest, DEFAULT_DISK_SIZE_GB))
    assert disk is not None
    Ext4Image(disk.base_path).check()
    assert Ext4Image(disk.base_path).read("/layer-4") == content[4:]
    assert list(layout.tmp_dir.iterdir()) == []
