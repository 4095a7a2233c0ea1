"""The local store: names, ids, removal, and what other tools see of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess

import pytest

from engine.errors import DatabaseError, ImageNotFoundError, InvalidArgumentError, InvalidStateError
from engine.images.store import ImageStore
from engine.layout import Layout
from tests.framework.image_builder import build_image, file
from tests.framework.stored import store_image

ONE = build_image([[file("shared", b"s" * 100)], [file("a", b"1")]])
TWO = build_image([[file("shared", b"s" * 100)], [file("a", b"2")]])


async def test_get_by_name_id_digest_and_prefix_finds_the_image(layout: Layout) -> None:
    image = await store_image(layout, ONE, "example.com/app:v1")
    store = ImageStore(layout)
    id_digits = image.config_digest.removeprefix("sha256:")
    for text in (
        "example.com/app:v1", image.config_digest, id_digits, id_digits[:12], image.manifest_digest,
        image.manifest_digest.removeprefix("sha256:")[:12], f"example.com/app@{image.manifest_digest}",
    ):  # fmt: skip
        assert (await store.get(text)).manifest_digest == image.manifest_digest, text
    for text in ("example.com/app:v2", "app", "ffff", f"example.com/other@{image.manifest_digest}"):
        with pytest.raises(ImageNotFoundError, match="is not here"):
            await store.get(text)


async def test_tag_gives_one_more_name(layout: Layout) -> None:
    image = await store_image(layout, ONE, "a:1")
    store = ImageStore(layout)
    tagged = await store.tag("a:1", "other/name:2")
    assert (tagged.reference, tagged.manifest_digest) == ("docker.io/other/name:2", image.manifest_digest)
    assert {found.reference for found in await store.list_images()} == {
        "docker.io/library/a:1",
        "docker.io/other/name:2",
    }
    with pytest.raises(InvalidArgumentError, match="a new name cannot have one"):
        await store.tag("a:1", f"b@{image.manifest_digest}")


async def test_name_that_moves_leaves_the_old_image_without_one(layout: Layout) -> None:
    old = await store_image(layout, ONE, "a:1")
    await store_image(layout, TWO, "a:1")
    store = ImageStore(layout)
    references = {found.reference for found in await store.list_images()}
    assert references == {"docker.io/library/a:1", f"docker.io/library/a@{old.manifest_digest}"}
    assert [one.row.manifest_digest for one in await store.prune()] == [old.manifest_digest]
    assert [found.reference for found in await store.list_images()] == ["docker.io/library/a:1"]


async def test_remove_takes_the_name_then_the_image_and_its_own_blobs(layout: Layout) -> None:
    image = await store_image(layout, ONE, "a:1")
    other = await store_image(layout, TWO, "b:1")
    store = ImageStore(layout)
    await store.tag("a:1", "a:2")
    first = await store.remove("a:1")
    assert (first.untagged, first.deleted) == (("docker.io/library/a:1",), ())
    second = await store.remove("a:2")
    assert second.deleted == (image.manifest_digest,)
    assert second.freed_bytes > 0
    assert not layout.blob_path(image.config_digest).exists()
    assert layout.blob_path(image.layers[0].digest).exists()
    assert (await store.get("b:1")).layers == other.layers


async def test_remove_by_id_of_an_image_with_names_needs_force(layout: Layout) -> None:
    image = await store_image(layout, ONE, "a:1")
    store = ImageStore(layout)
    await store.tag("a:1", "a:2")
    with pytest.raises(InvalidArgumentError, match="has several names"):
        await store.remove(image.config_digest)
    removal = await store.remove(image.config_digest, force=True)
    assert removal.untagged == ("docker.io/library/a:1", "docker.io/library/a:2")
    assert await store.list_images() == []


async def test_remove_of_an_image_that_a_box_uses_keeps_it(layout: Layout) -> None:
    image = await store_image(layout, ONE, "a:1")
    store = ImageStore(layout)
    with pytest.raises(InvalidStateError, match="is used by box web"):
        await store.remove("a:1", used={image.manifest_digest: ["web"]})
    await store.remove("a:1", force=True, used={image.manifest_digest: ["web"]})
    assert (await store.get(image.manifest_digest)).config_digest == image.config_digest
    assert await store.prune(used={image.manifest_digest}) == []


async def test_sweep_while_an_image_is_added_takes_nothing(layout: Layout) -> None:
    await store_image(layout, ONE, "a:1")
    store = ImageStore(layout)
    async with store.adding():
        await store.remove("a:1")
        assert layout.blob_path(ONE.layers[0]["digest"]).exists()
    assert await store.sweep() > 0
    assert not layout.blob_path(ONE.layers[0]["digest"]).exists()


async def test_store_is_an_oci_layout_that_skopeo_reads(layout: Layout) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    await store_image(layout, ONE, "example.com/app:v1")
    assert json.loads(inspected(skopeo, f"oci:{layout.images_dir}:v1")) == json.loads(ONE.document)


def inspected(skopeo: str, image: str) -> bytes:
    return subprocess.run((skopeo, "inspect", "--raw", image), capture_output=True, check=True).stdout


async def test_record_of_a_newer_version_is_refused(layout: Layout) -> None:
    await store_image(layout, ONE, "a:1")
    with sqlite3.connect(layout.images_db) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DatabaseError, match="is of version 99"):
        await ImageStore(layout).list_images()
