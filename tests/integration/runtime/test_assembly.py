"""An image's disk is made while its layers are still coming."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import pytest

from engine.disks.base import base_key, base_keys, find_base
from engine.errors import ImageError, ImageNotFoundError
from engine.layout import Layout
from engine.model import DEFAULT_DISK_SIZE_GB
from engine.runtime.runtime import Runtime
from tests.framework.home import layout
from tests.framework.image_builder import build_image, file
from tests.framework.scripted_registry import Answer, Asked, ScriptedRegistry, scripted

__all__ = ["layout", "scripted"]

LAYERS = [[file("a", os.urandom(50_000))], [file("b", b"2")]]
IMAGE = build_image(LAYERS)
LAST = IMAGE.layers[1]["digest"]


@pytest.fixture
async def runtime(layout: Layout) -> AsyncIterator[Runtime]:
    async with Runtime(layout.home) as opened:
        yield opened


async def test_disk_is_begun_before_the_last_layer_has_come(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    begun = []

    def when_begun(asked: Asked) -> Answer | None:
        deadline = time.monotonic() + 20
        while LAST in asked.path and not begun and time.monotonic() < deadline:
            begun.extend(layout.tmp_dir.glob("base-*"))
            time.sleep(0.01)
        return None

    scripted.rules.append(when_begun)
    image = await runtime.images.pull(scripted.put("v1", IMAGE))
    assert begun
    assert find_base(layout, base_key(image.manifest_digest, DEFAULT_DISK_SIZE_GB)) is not None
    assert list(layout.tmp_dir.iterdir()) == []


async def test_image_whose_layer_is_not_what_its_configuration_says_is_not_put_on_record(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    wrong = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * 2}}
    reference = scripted.put("v1", build_image(LAYERS, config_changes=wrong))
    with pytest.raises(ImageError, match="but its image says sha256:0000"):
        await runtime.images.pull(reference)
    assert await runtime.images.list() == []
    assert (base_keys(layout), list(layout.tmp_dir.glob("base-*"))) == ([], [])


async def test_pull_that_fails_leaves_no_half_made_disk(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", IMAGE)
    del scripted.blobs[LAST]
    with pytest.raises(ImageNotFoundError):
        await runtime.images.pull(reference)
    assert (base_keys(layout), list(layout.tmp_dir.glob("base-*"))) == ([], [])


async def test_image_for_another_platform_is_fetched_without_a_disk(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", build_image(LAYERS, architecture="s390x"))
    image = await runtime.images.pull(reference, platform="linux/s390x")
    assert image.config.architecture == "s390x"
    assert base_keys(layout) == []
