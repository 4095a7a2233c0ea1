"""An image's disk is made while its layers are still coming."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.disks.base import base_key, base_keys, find_base
from engine.errors import ImageError, ImageNotFoundError
from engine.layout import Layout
from engine.model import DEFAULT_DISK_SIZE_GB, Image
from engine.runtime.runtime import Runtime
from tests.framework.ext4 import Ext4Image
from tests.framework.home import layout
from tests.framework.image_builder import build_image, file
from tests.framework.scripted_registry import Answer, Asked, ScriptedRegistry, scripted

__all__ = ["layout", "scripted"]

LAYERS = [[file("a", os.urandom(50_000))], [file("b", b"2")]]
IMAGE = build_image(LAYERS)
LAST = IMAGE.layers[1]["digest"]
CONTENT = os.urandom(3_000_000)
LARGE = build_image([[file("large", CONTENT)], [file("b", b"2")]])
FIRST = LARGE.layers[0]["digest"]


def nameless_files_in(directory: Path) -> list[int]:
    """The sizes of our open files there that have no name (any more) and something in them."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith(str(directory)) and link.stat().st_nlink == 0:
                found.append(link.stat().st_size)
    return [size for size in found if size]


def base_of(layout: Layout, image: Image) -> Ext4Image:
    disk = find_base(layout, base_key(image.manifest_digest, DEFAULT_DISK_SIZE_GB))
    assert disk is not None
    return Ext4Image(disk.base_path)


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


async def test_layer_is_decompressed_while_it_comes_in(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    """Its second half is held back until there is something of the first in the spool."""
    spooled: list[int] = []

    def in_halves(asked: Asked) -> Answer | None:
        if FIRST not in asked.path:
            return None
        answer = scripted.usual(asked)
        if "range" not in asked.headers:
            answer.cut_after = len(answer.body) // 2
        deadline = time.monotonic() + 20
        while "range" in asked.headers and not spooled and time.monotonic() < deadline:
            spooled.extend(nameless_files_in(layout.tmp_dir))
            time.sleep(0.01)
        return answer

    scripted.rules.append(in_halves)
    image = await runtime.images.pull(scripted.put("v1", LARGE))
    assert spooled
    assert base_of(layout, image).read("/large") == CONTENT


async def test_layer_that_is_begun_anew_is_decompressed_anew(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    """The first attempt breaks off, with bytes that are not the layer's; the registry knows no ranges."""
    blob = LARGE.blobs[FIRST]
    wrong = blob[: len(blob) // 3] + bytes(len(blob) // 3)
    answers = [Answer(body=wrong, headers={"Content-Length": str(len(blob))}), Answer(body=blob)]
    answers[0].cut_after = len(wrong)
    scripted.rules.append(lambda asked: answers.pop(0) if answers and FIRST in asked.path else None)
    image = await runtime.images.pull(scripted.put("v1", LARGE))
    assert answers == []
    assert base_of(layout, image).read("/large") == CONTENT


async def test_layer_that_was_changed_on_the_way_is_refused_for_its_digest(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", LARGE)
    blob = LARGE.blobs[FIRST]
    scripted.blobs[FIRST] = blob[:1000] + bytes(1000) + blob[2000:]
    with pytest.raises(ImageError, match="has the digest"):
        await runtime.images.pull(reference)
    assert (base_keys(layout), list(layout.tmp_dir.glob("base-*"))) == ([], [])


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_layer_that_is_no_archive_is_refused_once_it_is_here(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry, compression: str
) -> None:
    reference = scripted.put("v1", build_image([b"no archive" * 1000], compression=compression))
    with pytest.raises(ImageError, match="damaged"):
        await runtime.images.pull(reference)
    assert (base_keys(layout), await runtime.images.list()) == ([], [])


async def test_pull_that_is_given_up_while_a_layer_comes_in_ends_at_once(
    layout: Layout, runtime: Runtime, scripted: ScriptedRegistry
) -> None:
    """The layer's first half is being decompressed; its second half never comes."""
    asleep, awake = threading.Event(), threading.Event()

    def halves(asked: Asked) -> Answer | None:
        if FIRST not in asked.path:
            return None
        answer = scripted.usual(asked)
        answer.cut_after = len(answer.body) // 2
        if "range" in asked.headers:
            asleep.set()
            awake.wait(20)
        return answer

    scripted.rules.append(halves)
    pulling = asyncio.create_task(runtime.images.pull(scripted.put("v1", LARGE)))
    assert await asyncio.to_thread(asleep.wait, 20)
    before = time.monotonic()
    pulling.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await pulling
        assert time.monotonic() - before < 5
    finally:
        awake.set()
    assert (base_keys(layout), list(layout.tmp_dir.glob("base-*"))) == ([], [])


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
