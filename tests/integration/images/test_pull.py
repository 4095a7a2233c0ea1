"""Pulls from Debian's docker-registry."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ImageError, ImageNotFoundError, InvalidArgumentError, NetworkError, UnsupportedError
from engine.images.platforms import Platform
from engine.images.pull import pull
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import PullPolicy, RegistryConfig, RuntimeConfig
from engine.progress import Progress
from tests.framework.image_builder import build_image, build_index, file
from tests.framework.registry import RunningRegistry, free_port

CONFIG = RuntimeConfig()
HOST = Platform.of_host().architecture


def assert_store_is_sound(layout: Layout) -> None:
    """Every blob is what its name says, and nothing half-made is among them."""
    for blob in (layout.images_dir / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


@pytest.mark.parametrize("flavour", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_pull_of_any_kind_of_image_stores_it_whole(
    layout: Layout, registry: RunningRegistry, flavour: str, compression: str
) -> None:
    built = build_image(
        [[file("a", b"1" * 3000)], [file("b", compression.encode())]],
        flavour=flavour,
        compression=compression,
        config={
            "Entrypoint": ["/a"],
            "Env": ["X=1"],
            "User": "nobody",
            "WorkingDir": "/w",
            "ExposedPorts": {"80/tcp": {}},
        },
    )
    reference = registry.push(f"kinds/{flavour}-{compression}", "v1", built)
    image = await pull(layout, CONFIG, reference)
    assert (image.reference, image.manifest_digest) == (reference, built.digest)
    assert [layer.digest for layer in image.layers] == [layer["digest"] for layer in built.layers]
    assert (image.config.entrypoint, image.config.env, image.config.user) == (("/a",), ("X=1",), "nobody")
    assert (image.config.working_dir, image.config.exposed_ports) == ("/w", ("80/tcp",))
    assert image.size_bytes == len(built.document) + sum(map(len, built.blobs.values()))
    assert_store_is_sound(layout)
    assert await ImageStore(layout).get(reference) == image


async def test_pull_by_digest_stores_that_manifest(layout: Layout, registry: RunningRegistry) -> None:
    built = build_image([[file("a", b"digest")]])
    registry.push("by/digest", "moving", built)
    registry.push("by/digest", "moving", build_image([[file("a", b"newer")]]))
    reference = f"{registry.host}/by/digest@{built.digest}"
    image = await pull(layout, CONFIG, reference)
    assert (image.manifest_digest, image.reference) == (built.digest, reference)
    tagged = await pull(layout, CONFIG, f"{registry.host}/by/digest:moving@{built.digest}")
    assert tagged.manifest_digest == built.digest


@pytest.mark.parametrize("flavour", ["oci", "docker"])
async def test_pull_of_an_index_chooses_the_platform(
    layout: Layout, registry: RunningRegistry, flavour: str
) -> None:
    mine = build_image([[file("a", b"mine")]], flavour=flavour, architecture=HOST)
    other = build_image([[file("a", b"other")]], flavour=flavour, architecture="s390x")
    index = build_index(
        [(other, {"os": "linux", "architecture": "s390x"}), (mine, {"os": "linux", "architecture": HOST})],
        flavour=flavour,
    )
    reference = registry.push(f"multi/{flavour}", "v1", index)
    assert (await pull(layout, CONFIG, reference)).manifest_digest == mine.digest
    assert (await pull(layout, CONFIG, reference, platform="linux/s390x")).manifest_digest == other.digest
    again = await pull(layout, CONFIG, reference, platform=f"linux/{HOST}", policy=PullPolicy.MISSING)
    assert again.manifest_digest == mine.digest
    with pytest.raises(ImageError, match=r"has nothing for linux/riscv64; it has linux/.*, linux/s390x"):
        await pull(layout, CONFIG, reference, platform="linux/riscv64")


async def test_pull_with_another_tag_of_shared_layers_fetches_only_what_is_new(
    layout: Layout, registry: RunningRegistry
) -> None:
    base = [file("base", b"shared" * 1000)]
    first = registry.push("shared", "one", build_image([base, [file("one", b"1")]]))
    second = registry.push("shared", "two", build_image([base, [file("two", b"2")]]))
    await pull(layout, CONFIG, first)
    seen: list[Progress] = []
    image = await pull(layout, CONFIG, second, progress=seen.append)
    already = {step.item for step in seen if step.message == "already here"}
    assert already == {image.layers[0].digest}


async def test_pulls_of_one_image_at_once_share_the_work(layout: Layout, registry: RunningRegistry) -> None:
    built = build_image([[file(f"layer-{number}", bytes([number]) * 200_000)] for number in range(6)])
    reference = registry.push("at/once", "v1", built)
    seen: list[Progress] = []
    images = await asyncio.gather(*(pull(layout, CONFIG, reference, progress=seen.append) for _ in range(5)))
    assert {image.manifest_digest for image in images} == {built.digest}
    pulled = [step.item for step in seen if step.stage == "layer" and step.message == "pulled"]
    assert sorted(pulled) == sorted(layer["digest"] for layer in built.layers)
    assert_store_is_sound(layout)


async def test_pulls_by_several_processes_share_one_store(layout: Layout, registry: RunningRegistry) -> None:
    references = [
        registry.push(
            "processes",
            f"v{number}",
            build_image([[file("same", b"s" * 500_000)], [file("own", b"%d" % number)]]),
        )
        for number in range(4)
    ]
    script = (
        "import asyncio, sys; from pathlib import Path; from engine.images.pull import pull;"
        "from engine.layout import Layout; from engine.model import RuntimeConfig;"
        "asyncio.run(pull(Layout(Path(sys.argv[1])), RuntimeConfig(), sys.argv[2]))"
    )
    root = Path(__file__).parents[3]
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            str(layout.home),
            reference,
            cwd=root,
            stderr=asyncio.subprocess.PIPE,
        )
        for reference in references
    ]
    for process in running:
        _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
    assert sorted(image.reference for image in await ImageStore(layout).list_images()) == sorted(references)
    index = json.loads((layout.images_dir / "index.json").read_bytes())
    assert len(index["manifests"]) == 4


async def test_pull_with_policy_missing_asks_no_registry_for_what_is_here(
    layout: Layout, registry: RunningRegistry
) -> None:
    built = build_image([[file("a", b"policy")]])
    reference = registry.push("policy", "v1", built)
    with pytest.raises(ImageNotFoundError, match="pulling is switched off"):
        await pull(layout, CONFIG, reference, policy=PullPolicy.NEVER)
    image = await pull(layout, CONFIG, reference, policy=PullPolicy.MISSING)
    newer = registry.push("policy", "v1", build_image([[file("a", b"newer")]]))
    assert newer == reference
    assert await pull(layout, CONFIG, reference, policy=PullPolicy.MISSING) == image
    assert await pull(layout, CONFIG, reference, policy=PullPolicy.NEVER) == image
    assert await pull(layout, CONFIG, image.config_digest, policy=PullPolicy.MISSING) == image
    assert (await pull(layout, CONFIG, reference)).manifest_digest != image.manifest_digest


async def test_pull_of_a_missing_image_names_registry_and_repository(
    layout: Layout, registry: RunningRegistry
) -> None:
    registry.push("there", "v1", build_image([[file("a")]]))
    with pytest.raises(ImageNotFoundError) as caught:
        await pull(layout, CONFIG, f"{registry.host}/there:v2")
    assert f"{registry.host}/there:v2 does not exist on registry {registry.host}" in str(caught.value)
    assert caught.value.hint == "check the name and the tag"
    with pytest.raises(ImageNotFoundError):
        await pull(layout, CONFIG, f"{registry.host}/not/there")
    assert await ImageStore(layout).list_images() == []


async def test_pull_from_a_registry_that_is_not_there_says_so(layout: Layout) -> None:
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(
        NetworkError, match=rf"registry {host} cannot be reached for {host}/x:latest: .*refused"
    ) as caught:
        await pull(layout, CONFIG, f"{host}/x")
    assert "that the registry runs" in (caught.value.hint or "")


async def test_pull_of_a_local_name_asks_nobody(layout: Layout) -> None:
    with pytest.raises(ImageNotFoundError, match="never fetched"):
        await pull(layout, CONFIG, "localhost/nothing")


async def test_pull_of_a_short_name_tries_the_searched_registries_in_order(
    layout: Layout, registry: RunningRegistry
) -> None:
    built = build_image([[file("a", b"short")]])
    registry.push("second/short", "v1", built)
    config = RuntimeConfig(
        image_registries=(
            RegistryConfig(host=f"{registry.host}/first", search=True, transport="http"),
            RegistryConfig(host="unsearched.example"),
            RegistryConfig(host=f"{registry.host}/second", search=True, transport="http"),
        )
    )
    image = await pull(layout, config, "short:v1")
    assert image.reference == f"{registry.host}/second/short:v1"
    assert await pull(layout, config, "short:v1", policy=PullPolicy.MISSING) == image
    with pytest.raises(ImageNotFoundError, match="found on none of 2 registries"):
        await pull(layout, config, "missing:v1")


async def test_registry_on_this_machine_is_asked_by_http_unless_something_speaks_of_tls(
    layout: Layout, registry: RunningRegistry
) -> None:
    registry.push("here", "v1", build_image([[file("a", b"here")]]))
    searched = RegistryConfig(host=registry.host, search=True)
    image = await pull(layout, RuntimeConfig(image_registries=(searched,)), "here:v1")
    assert image.reference == f"{registry.host}/here:v1"
    for changes in ({"transport": "https"}, {"skip_verify": True}):
        config = RuntimeConfig(image_registries=(replace(searched, **changes),))  # type: ignore[arg-type]
        with pytest.raises(NetworkError, match="WRONG_VERSION_NUMBER"):
            await pull(layout, config, "here:v1")


async def test_registry_with_tls_that_is_asked_without_is_told_of(
    layout: Layout, guarded: RunningRegistry
) -> None:
    with pytest.raises(NetworkError, match="answered 400") as caught:
        await pull(layout, CONFIG, f"{guarded.host}/team/app:v1")
    assert '"transport": "https"' in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("arm64", "linux/arm64"),
        ("windows", f"windows/{Platform.of_host().architecture}"),
        ("linux/arm/v6", "linux/arm/v6"),
    ],
)
def test_platform_may_be_said_in_part(text: str, platform: str) -> None:
    assert str(Platform.parse(text)) == platform


async def test_pull_with_a_mirror_uses_it_and_falls_back(layout: Layout, registry: RunningRegistry) -> None:
    mirrored, only_there = build_image([[file("a", b"mirrored")]]), build_image([[file("a", b"origin")]])
    registry.push("mirror/app", "v1", mirrored)
    registry.push("app", "v2", only_there)
    config = RuntimeConfig(
        image_registries=(
            RegistryConfig(
                host=registry.host,
                transport="http",
                mirrors=(f"127.0.0.1:{free_port()}", f"http://{registry.host}/mirror"),
            ),
        )
    )
    assert (await pull(layout, config, f"{registry.host}/app:v1")).manifest_digest == mirrored.digest
    assert (await pull(layout, config, f"{registry.host}/app:v2")).manifest_digest == only_there.digest


async def test_pull_of_an_artifact_is_refused_clearly(layout: Layout, registry: RunningRegistry) -> None:
    chart = "application/vnd.cncf.helm.config.v1+json"
    plain = build_image([[file("a")]])
    config = json.loads(plain.document)["config"] | {"mediaType": chart}
    artifact = build_image([[file("a")]], manifest_changes={"config": config})
    with pytest.raises(UnsupportedError, match=re.escape(f"an artifact of the type {chart}")):
        await pull(layout, CONFIG, registry.push("artifact", "v1", artifact))


async def test_pull_for_another_platform_than_the_image_has_is_refused(
    layout: Layout, registry: RunningRegistry
) -> None:
    reference = registry.push("one", "arch", build_image([[file("a")]], architecture="s390x"))
    with pytest.raises(ImageError, match="is for linux/s390x, not for linux/arm64"):
        await pull(layout, CONFIG, reference, platform="linux/arm64")
    with pytest.raises(InvalidArgumentError, match="invalid platform"):
        await pull(layout, CONFIG, reference, platform="linux/")


async def test_pull_that_finds_a_damaged_blob_in_the_store_mends_it(
    layout: Layout, registry: RunningRegistry
) -> None:
    reference = registry.push("mend", "v1", build_image([[file("a", b"m" * 5000)]]))
    image = await pull(layout, CONFIG, reference)
    blob = layout.blob_path(image.layers[0].digest)
    blob.write_bytes(b"cut")
    assert await ImageStore(layout).list_images() == []
    assert (await pull(layout, CONFIG, reference, policy=PullPolicy.MISSING)).layers == image.layers
    assert_store_is_sound(layout)
