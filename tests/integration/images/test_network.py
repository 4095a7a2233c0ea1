"""Registries and networks on a bad day."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from engine.errors import BoxliteError, ImageError, ImageNotFoundError, NetworkError, RegistryAuthError
from engine.images.pull import pull
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import RegistryConfig, RuntimeConfig
from tests.framework.certificates import Certificate
from tests.framework.image_builder import build_image, file
from tests.framework.scripted_registry import Answer, Asked, ScriptedRegistry

CONFIG = RuntimeConfig()
IMAGE = build_image([[file("a", bytes(range(256)) * 4000)], [file("b", b"2" * 1000)]], compression="none")
BIG = IMAGE.layers[0]["digest"]


def only_first(*answers: Answer, part: str) -> object:
    """A rule: the first requests with `part` in their path get these answers."""
    left = list(answers)

    def rule(asked: Asked) -> Answer | None:
        return left.pop(0) if left and part in asked.path else None

    return rule


async def test_interrupted_layer_is_resumed_by_range(layout: Layout, scripted: ScriptedRegistry) -> None:
    reference = scripted.put("v1", IMAGE)
    cuts = [300_000, 200_000]

    def rule(asked: Asked) -> Answer | None:
        if BIG not in asked.path or not cuts:
            return None
        answer = scripted.usual(asked)
        answer.cut_after = cuts.pop(0)
        return answer

    scripted.rules.append(rule)
    image = await pull(layout, CONFIG, reference)
    assert image.manifest_digest == IMAGE.digest
    ranges = [asked.headers.get("range") for asked in scripted.asked if BIG in asked.path]
    assert ranges == [None, "bytes=300000-", "bytes=500000-"]


async def test_registry_without_ranges_starts_the_layer_again(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", IMAGE)
    whole = IMAGE.blobs[BIG]
    scripted.rules.append(only_first(Answer(body=whole, cut_after=300_000), Answer(body=whole), part=BIG))  # type: ignore[arg-type]
    assert (await pull(layout, CONFIG, reference)).manifest_digest == IMAGE.digest


async def test_pull_after_a_failed_one_goes_on_from_what_is_there(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", IMAGE)
    state = {"sent": 0}

    def rule(asked: Asked) -> Answer | None:
        if BIG not in asked.path or state["sent"] < 0:
            return None
        state["sent"] += 1
        answer = scripted.usual(asked)
        answer.cut_after = 400_000 if state["sent"] == 1 else 0
        return answer

    scripted.rules.append(rule)
    with pytest.raises(NetworkError, match="keeps breaking off") as caught:
        await pull(layout, CONFIG, reference)
    assert "pull again" in (caught.value.hint or "")
    assert await ImageStore(layout).list_images() == []
    state["sent"] = -1
    scripted.asked.clear()
    await pull(layout, CONFIG, reference)
    assert [asked.headers.get("range") for asked in scripted.asked if BIG in asked.path] == ["bytes=400000-"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_answers_that_pass_are_tried_again(
    layout: Layout, scripted: ScriptedRegistry, status: int
) -> None:
    reference = scripted.put("v1", IMAGE)
    busy = Answer(status=status, headers={"Retry-After": "0"})
    scripted.rules += [only_first(busy, busy, part="/manifests/"), only_first(busy, part=BIG)]  # type: ignore[list-item]
    assert (await pull(layout, CONFIG, reference)).manifest_digest == IMAGE.digest


async def test_retry_after_is_kept(layout: Layout, scripted: ScriptedRegistry) -> None:
    reference = scripted.put("v1", IMAGE)
    scripted.rules.append(only_first(Answer(status=429, headers={"Retry-After": "1"}), part="/manifests/"))  # type: ignore[arg-type]
    before = time.monotonic()
    await pull(layout, CONFIG, reference)
    assert time.monotonic() - before >= 1


async def test_limit_that_lasts_is_an_error_at_once(layout: Layout, scripted: ScriptedRegistry) -> None:
    reference = scripted.put("v1", IMAGE)
    body = json.dumps(
        {"errors": [{"code": "TOOMANYREQUESTS", "message": "you have reached\n\x1b[31mthe limit"}]}
    ).encode()
    scripted.rules.append(lambda _: Answer(status=429, body=body, headers={"Retry-After": "3600"}))
    with pytest.raises(NetworkError, match="allows no more requests") as caught:
        await pull(layout, CONFIG, reference)
    assert "boxlite login" in (caught.value.hint or "")
    assert "\x1b" not in str(caught.value)
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, RegistryAuthError), (403, RegistryAuthError), (404, ImageNotFoundError), (418, NetworkError)],
)
async def test_refusals_have_an_error_of_their_kind(
    layout: Layout, scripted: ScriptedRegistry, status: int, error: type[BoxliteError]
) -> None:
    reference = scripted.put("v1", IMAGE)
    scripted.rules.append(lambda _: Answer(status=status))
    with pytest.raises(error) as caught:
        await pull(layout, CONFIG, reference)
    assert scripted.host in str(caught.value)
    assert "test/image" in str(caught.value)


async def test_cancelled_pull_ends_soon_and_leaves_a_sound_store(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", IMAGE)
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def rule(asked: Asked) -> Answer | None:
        if BIG in asked.path:
            loop.call_soon_threadsafe(reached.set)
            return Answer(status=503, headers={"Retry-After": "30"})
        return None

    scripted.rules.append(rule)
    pulling = asyncio.create_task(pull(layout, CONFIG, reference))
    await asyncio.wait_for(reached.wait(), 10)
    before = time.monotonic()
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    assert time.monotonic() - before < 2
    scripted.rules.clear()
    assert (await pull(layout, CONFIG, reference)).manifest_digest == IMAGE.digest


@pytest.mark.parametrize("part", ["/manifests/", BIG])
@pytest.mark.parametrize("has_tls", [False, True])
async def test_pull_that_waits_for_a_silent_registry_can_be_cancelled(
    layout: Layout, certificate: Certificate, part: str, has_tls: bool
) -> None:
    registry = ScriptedRegistry(tls=(certificate.certificate, certificate.key) if has_tls else None)
    reference = registry.put("v1", IMAGE)
    entry = RegistryConfig(host=registry.host, ca_file=str(certificate.certificate) if has_tls else None)
    asked, over = threading.Event(), threading.Event()

    def rule(request: Asked) -> Answer | None:
        if part in request.path:
            asked.set()
            over.wait(20)
        return None

    registry.rules.append(rule)
    try:
        pulling = asyncio.create_task(pull(layout, RuntimeConfig(image_registries=(entry,)), reference))
        assert await asyncio.to_thread(asked.wait, 10)
        before = time.monotonic()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        assert time.monotonic() - before < 5
    finally:
        over.set()
        registry.stop()


async def test_full_disk_during_a_pull_is_said_and_mended_by_the_next(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    import resource
    import signal

    from engine.errors import StorageError

    reference = scripted.put("v1", IMAGE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(StorageError, match="storing blob"):
            await pull(layout, CONFIG, reference)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert await ImageStore(layout).list_images() == []
    assert (await pull(layout, CONFIG, reference)).manifest_digest == IMAGE.digest


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (IMAGE.blobs[BIG][:-1] + b"X", "has the digest sha256:"),
        (IMAGE.blobs[BIG] + b"more", "its manifest says"),
        (IMAGE.blobs[BIG][:-5], "its manifest says"),
    ],
    ids=["changed", "longer", "shorter"],
)
async def test_blob_that_is_not_what_was_promised_is_refused(
    layout: Layout, scripted: ScriptedRegistry, body: bytes, message: str
) -> None:
    reference = scripted.put("v1", IMAGE)
    scripted.blobs[BIG] = body
    with pytest.raises(ImageError, match=message):
        await pull(layout, CONFIG, reference)
    assert not layout.blob_path(BIG).exists()
    assert await ImageStore(layout).list_images() == []


async def test_endless_blob_without_a_length_is_cut_off(layout: Layout, scripted: ScriptedRegistry) -> None:
    reference = scripted.put("v1", IMAGE)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    endless = Answer(body=chunk * 200 + b"0\r\n\r\n", headers={"Transfer-Encoding": "chunked"})
    scripted.rules.append(lambda asked: endless if BIG in asked.path else None)
    with pytest.raises(ImageError, match="is longer than the"):
        await pull(layout, CONFIG, reference)
    assert not list(layout.tmp_dir.glob(f"*{BIG[7:]}.part"))


async def test_manifest_that_is_not_what_its_digest_says_is_refused(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    scripted.put("v1", IMAGE)
    other = build_image([[file("x")]])
    scripted.manifests[IMAGE.digest] = (other.document, other.media_type)
    with pytest.raises(ImageError, match="has the digest"):
        await pull(layout, CONFIG, f"{scripted.host}/test/image@{IMAGE.digest}")


async def test_index_that_nests_without_end_is_refused(layout: Layout, scripted: ScriptedRegistry) -> None:
    from tests.framework.image_builder import BuiltImage, build_index

    inner: BuiltImage = IMAGE
    for _ in range(8):
        inner = build_index([(inner, {})])
    with pytest.raises(ImageError, match="index of indexes"):
        await pull(layout, CONFIG, scripted.put("v1", inner))


async def test_huge_manifest_is_refused(layout: Layout, scripted: ScriptedRegistry) -> None:
    scripted.manifests["v1"] = (b" " * (5 << 20), IMAGE.media_type)
    with pytest.raises(ImageError, match="is larger than"):
        await pull(layout, CONFIG, f"{scripted.host}/test/image:v1")
