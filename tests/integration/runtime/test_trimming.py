"""Images that go by themselves, and those that never do."""

from __future__ import annotations

from engine.layout import Layout
from engine.model import RuntimeConfig
from engine.progress import ignore_progress
from engine.runtime.context import Context
from engine.runtime.trimming import trim_images
from engine.store import BoxStore
from tests.framework.home import layout
from tests.framework.image_builder import build_image, file
from tests.framework.records import make_record
from tests.framework.stored import store_image

__all__ = ["layout"]


async def test_images_over_the_cap_lose_those_without_a_name_that_no_box_needs(layout: Layout) -> None:
    images = [
        await store_image(layout, build_image([[file("f", bytes([number]) * 9000)]]), "localhost/moving:1")
        for number in range(3)
    ]
    async with BoxStore(layout) as store:
        context = Context(
            layout=layout, config=RuntimeConfig(), boxes=lambda: store, progress=ignore_progress
        )
        await store.insert(make_record("web", manifest_digest=images[0].manifest_digest))
        assert await trim_images(context) == []
        assert [gone.path for gone in await trim_images(context, above_bytes=1)] == [images[1].config_digest]
    assert [layout.blob_path(image.manifest_digest).exists() for image in images] == [True, False, True]
