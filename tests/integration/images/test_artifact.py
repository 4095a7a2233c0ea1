"""Files through a real registry and back, as one artifact; what is none is refused."""

from pathlib import Path

import pytest

from engine.errors import ImageError, ImageNotFoundError
from engine.images.artifact import pull_artifact, push_artifact
from engine.layout import Layout
from engine.model import RuntimeConfig
from tests.framework.image_builder import build_image, file
from tests.framework.registry import RunningRegistry

TYPE = "application/vnd.example.file.v1"


async def test_artifact_comes_back_byte_for_byte(
    layout: Layout, registry: RunningRegistry, tmp_path: Path
) -> None:
    sent = tmp_path / "sent"
    sent.mkdir()
    (sent / "one").write_bytes(bytes(range(256)) * 5000)
    (sent / "two.json").write_text("{}")
    reference = f"{registry.host}/artifacts/guest:1"
    digest = await push_artifact(layout, RuntimeConfig(), reference, sorted(sent.iterdir()), media_type=TYPE)
    assert digest.startswith("sha256:")
    received = tmp_path / "received"
    received.mkdir()
    paths = await pull_artifact(layout, RuntimeConfig(), reference, received, media_type=TYPE)
    assert {p.name: p.read_bytes() for p in paths} == {p.name: p.read_bytes() for p in sent.iterdir()}


async def test_image_is_no_artifact_of_files(
    layout: Layout, registry: RunningRegistry, tmp_path: Path
) -> None:
    reference = registry.push("artifacts/image", "1", build_image([[file("a", b"b")]]))
    with pytest.raises(ImageError, match="not an artifact"):
        await pull_artifact(layout, RuntimeConfig(), reference, tmp_path, media_type=TYPE)


async def test_artifact_that_is_not_there_is_not_found(
    layout: Layout, registry: RunningRegistry, tmp_path: Path
) -> None:
    with pytest.raises(ImageNotFoundError):
        await pull_artifact(layout, RuntimeConfig(), f"{registry.host}/none:1", tmp_path, media_type=TYPE)
