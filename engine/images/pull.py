"""Bring an image from a registry into the store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from engine.errors import BoxliteError, ImageNotFoundError, NetworkError, RegistryAuthError
from engine.images.arrivals import LayerArrivals, NobodyWaits
from engine.images.blobs import ensure_layout, has_blob, read_blob
from engine.images.credentials import find_credential
from engine.images.endpoints import candidates, endpoints_for
from engine.images.fetching import BLOBS_AT_ONCE, Fetching
from engine.images.manifest import parse_config
from engine.images.platforms import Platform
from engine.images.reference import ImageReference
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import Image, ImageConfig, PullPolicy, RuntimeConfig
from engine.names import did_you_mean
from engine.progress import ProgressSink, ignore_progress
from engine.values import dataclass


async def pull(
    layout: Layout,
    config: RuntimeConfig,
    reference: str,
    *,
    platform: str | None = None,
    policy: PullPolicy = PullPolicy.ALWAYS,
    progress: ProgressSink = ignore_progress,
    arrivals: LayerArrivals | None = None,
) -> Image:
    """Make the image that `reference` means be in the store, whole, and return it.

    `policy`: MISSING asks a registry only for what is not here, NEVER does not ask. A short name is tried against each
    registry to search. `arrivals` is told of an image that is fetched, layer by layer. Raises ImageNotFoundError, RegistryAuthError, NetworkError, ImageError, InvalidArgumentError.
    """
    wanted = Platform.parse(platform) if platform else None
    store = ImageStore(layout)
    if policy is not PullPolicy.ALWAYS:
        by_id = await store.find_by_id(reference)
        if by_id is not None:
            return by_id
    names = candidates(reference, config.image_registries)
    if policy is not PullPolicy.ALWAYS:
        for name in names:
            found = await store.find(name, wanted)
            if found is not None:
                return found
    if policy is PullPolicy.NEVER:
        raise ImageNotFoundError(
            f"image {reference} is not here and pulling is switched off",
            hint=did_you_mean(reference, await store.short_names(), f"`boxlite pull {reference}` fetches it"),
        )
    failures: list[BoxliteError] = []
    for name in names:
        try:
            return await _pull_name(layout, store, config, name, wanted, progress, arrivals or NobodyWaits())
        except (ImageNotFoundError, RegistryAuthError, NetworkError) as error:
            failures.append(error)
    failed = _combined(reference, failures)
    if isinstance(failed, ImageNotFoundError):
        failed.hint = did_you_mean(reference, await store.short_names(), failed.hint or "check name and tag")
    raise failed


async def _pull_name(
    layout: Layout,
    store: ImageStore,
    config: RuntimeConfig,
    name: ImageReference,
    platform: Platform | None,
    progress: ProgressSink,
    arrivals: LayerArrivals,
) -> Image:
    if name.is_local:
        raise ImageNotFoundError(
            f"image {name} is not here, and names under localhost/ are never fetched",
            hint="`boxlite images` lists what is here; `boxlite import` or `boxlite load` brings one in",
        )
    cancelled = Event()
    job = Fetching(
        layout=layout,
        name=name,
        platform=platform,
        progress=progress,
        cancelled=cancelled,
        arrivals=arrivals,
    )
    try:
        for endpoint in endpoints_for(name, config.image_registries):
            found = await find_credential(name, endpoint.config, layout)
            job.add_endpoint(endpoint, found.credential, found.troubles)
        async with store.adding():
            with ThreadPoolExecutor(BLOBS_AT_ONCE) as threads:
                job.threads = threads
                try:
                    manifest_digest, source_digest = await job.run()
                    image = await store.add(
                        manifest_digest,
                        name=name.with_digest(name.digest) if name.digest else name,
                        repository=name.name,
                        source_digest=source_digest,
                        after=arrivals.finish,
                    )
                    job.sum_up()
                    return image
                except BaseException:
                    job.cancel()
                    await arrivals.abandon()
                    raise
    finally:
        job.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a pull would bring in. `missing_bytes` are those of the blobs that are not in the store yet."""

    name: str
    manifest_digest: str
    source_digest: str
    config: ImageConfig
    layers: int
    missing_bytes: int


async def preview(layout: Layout, config: RuntimeConfig, reference: str, *, platform: str | None) -> Preview:
    """Ask the registries what a reference means, without storing anything. Raises what `pull` raises."""
    wanted = Platform.parse(platform) if platform else None
    failures: list[BoxliteError] = []
    for name in candidates(reference, config.image_registries):
        try:
            return await _preview_name(layout, config, name, wanted)
        except (ImageNotFoundError, RegistryAuthError, NetworkError) as error:
            failures.append(error)
    raise _combined(reference, failures)


async def _preview_name(
    layout: Layout, config: RuntimeConfig, name: ImageReference, platform: Platform | None
) -> Preview:
    with tempfile.TemporaryDirectory(prefix="boxlite-") as directory, ThreadPoolExecutor(1) as threads:
        aside = Layout(Path(directory))
        ensure_layout(aside)
        job = Fetching(
            layout=aside, name=name, platform=platform, progress=ignore_progress, cancelled=Event(),
            arrivals=NobodyWaits(),
        )  # fmt: skip
        job.threads = threads
        try:
            for endpoint in endpoints_for(name, config.image_registries):
                found = await find_credential(name, endpoint.config, layout)
                job.add_endpoint(endpoint, found.credential, found.troubles)
            manifest, digest, source_digest = await job.resolve()
            await job.fetch(manifest.config, "config")
            document = parse_config(read_blob(aside, manifest.config.digest), manifest, name.familiar)
        finally:
            job.close()
    blobs = {blob.digest: blob.size_bytes for blob in (manifest.config, *manifest.layers)}
    return Preview(
        name=str(name),
        manifest_digest=digest,
        source_digest=source_digest,
        config=document.config,
        layers=len(manifest.layers),
        missing_bytes=sum(size for one, size in blobs.items() if not has_blob(layout, one, size)),
    )


def _combined(reference: str, failures: Sequence[BoxliteError]) -> BoxliteError:
    if len(failures) == 1:
        return failures[0]
    text = f"{reference} was found on none of {len(failures)} registries: " + "; ".join(
        one.message for one in failures
    )
    first_other = next((one for one in failures if not isinstance(one, ImageNotFoundError)), failures[0])
    return type(first_other)(text, hint=first_other.hint)
