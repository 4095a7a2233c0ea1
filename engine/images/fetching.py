"""One image on its way from a registry: its manifest, then its blobs, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from engine.errors import (
    BoxliteError,
    ImageError,
    ImageNotFoundError,
    NetworkError,
    RegistryAuthError,
    UnsupportedError,
)
from engine.images.arrivals import LayerArrivals
from engine.images.blobs import claim_blob, has_blob, read_blob, write_blob
from engine.images.credentials import Credential
from engine.images.endpoints import Endpoint
from engine.images.manifest import (
    Descriptor,
    Manifest,
    choose_manifest,
    digest_of,
    layers_of,
    parse_config,
    parse_document,
)
from engine.images.platforms import Platform
from engine.images.reference import ImageReference
from engine.layout import Layout
from engine.model import Image, utc_now
from engine.progress import Progress, ProgressSink

if TYPE_CHECKING:
    from engine.images.registry import RegistryClient

BLOBS_AT_ONCE = 4
_MAX_NESTED_INDEXES = 4
_REPORT_STEP_BYTES = 1 << 20


@dataclass(slots=True, kw_only=True, eq=False)
class Fetching:
    """One image under way. `clients` are asked in their order; the first that has the manifest comes to the front."""

    layout: Layout
    name: ImageReference
    platform: Platform | None
    progress: ProgressSink
    cancelled: Event
    arrivals: LayerArrivals
    clients: list[RegistryClient] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    threads: ThreadPoolExecutor | None = None
    fetched: list[Descriptor] = field(default_factory=list)
    """The layers that were not here."""
    layers: int = 0

    def add_endpoint(
        self, endpoint: Endpoint, credential: Credential | None, troubles: Sequence[str]
    ) -> None:
        from engine.images.registry import RegistryClient

        self.clients.append(RegistryClient(self.name, endpoint, credential, self.cancelled))
        self.troubles += [trouble for trouble in troubles if trouble not in self.troubles]

    def cancel(self) -> None:
        """Have the threads end soon, also one that waits for a registry's next word."""
        self.cancelled.set()
        for client in self.clients:
            client.abort()

    def close(self) -> None:
        for client in self.clients:
            client.close()

    async def run(self) -> tuple[str, str]:
        """Bring in every blob; the manifest's digest and the digest of what the name meant (an index, perhaps). When the
        image is on record, `sum_up` tells so."""
        self._tell("pull", message=f"pulling {self.name.familiar}")
        manifest, manifest_digest, source_digest = await self.resolve()
        layers = {layer.digest: layer for layer in manifest.layers}

        def come(blob: Descriptor) -> None:
            if blob.digest == manifest.config.digest:
                self._check_config(manifest)
                self.arrivals.begin(self._image(manifest, manifest_digest, source_digest))
            if blob.digest in layers:
                self.arrivals.arrived(blob.digest)

        blobs = {manifest.config.digest: manifest.config, **layers}
        await self._fetch_all(list(blobs.values()), set(layers), come)
        self.layers = len(layers)
        return manifest_digest, source_digest

    def sum_up(self) -> None:
        """Tell what was fetched."""
        name, fetched = self.name.familiar, len(self.fetched)
        message = f"pulled {name}, {fetched} of {self.layers} layers" if fetched else f"{name} is up to date"
        size = sum(blob.size_bytes for blob in self.fetched)
        self._tell("pull", done=size, total=size, message=message)

    async def resolve(self) -> tuple[Manifest, str, str]:
        """The manifest, its digest, and the digest of what the name meant; all on the way is stored."""
        data, media_type = await self._first_answer()
        source_digest = digest = self.name.digest or digest_of(data)
        for _ in range(_MAX_NESTED_INDEXES + 1):
            what = f"{self.name.familiar} ({digest[:19]})"
            document = parse_document(data, media_type, what)
            write_blob(self.layout, digest, data)
            if isinstance(document, Manifest):
                return document, digest, source_digest
            chosen = choose_manifest(document, self.platform or Platform.of_host(), what)
            digest, media_type = chosen.digest, chosen.media_type
            data, _ = await self._manifest(self.clients[0], digest, chosen.size_bytes)
        raise ImageError(f"{self.name.familiar} is an index of indexes, more than {_MAX_NESTED_INDEXES} deep")

    async def _first_answer(self) -> tuple[bytes, str]:
        """What the name means, from the first endpoint that knows it."""
        failure: BoxliteError | None = None
        for client in list(self.clients):
            try:
                answer = await self._manifest(client, self.name.digest or self.name.tag or "")
            except (ImageNotFoundError, RegistryAuthError, NetworkError) as error:
                failure = error
                if client.endpoint.is_mirror:
                    self._tell(
                        "note", message=f"mirror {client.endpoint.host} does not serve it: {error.message}"
                    )
                continue
            self.clients.remove(client)
            self.clients.insert(0, client)
            return answer
        assert failure is not None
        if isinstance(failure, RegistryAuthError) and self.troubles:
            failure.message += f" (credentials: {'; '.join(self.troubles)})"
        raise failure

    async def _manifest(
        self, client: RegistryClient, which: str, size_bytes: int | None = None
    ) -> tuple[bytes, str]:
        if which.startswith("sha") and size_bytes is not None and has_blob(self.layout, which, size_bytes):
            return read_blob(self.layout, which), ""
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(
            self.threads, lambda: client.fetch_manifest(which, size_bytes=size_bytes)
        )
        import aiosqlite  # noqa: F401  what the end of a pull needs, loaded while the registry thinks

        return await answer

    async def _fetch_all(
        self, blobs: Sequence[Descriptor], layers: Collection[str], come: Callable[[Descriptor], None]
    ) -> None:
        """Fetch the blobs, several at once, and call `come` as each is there."""
        slots = asyncio.Semaphore(BLOBS_AT_ONCE)

        async def fetch(blob: Descriptor) -> None:
            async with slots:
                is_layer = blob.digest in layers
                was_fetched = await self.fetch(blob, "layer" if is_layer else "config")
                if is_layer and was_fetched:
                    self.fetched.append(blob)
                come(blob)

        try:
            async with asyncio.TaskGroup() as group:
                under_way = [group.create_task(fetch(blob)) for blob in blobs]
                await asyncio.sleep(0)  # by then the first requests are with their threads
                if not all(one.done() for one in under_way):
                    self.arrivals.prepare()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def fetch(self, blob: Descriptor, stage: str) -> bool:
        """Have one blob in the store; False when it was there. Steps of it are told as ones of `stage`."""
        async with claim_blob(self.layout, blob) as part:
            if part is None:
                self._tell_of(stage, blob, blob.size_bytes, "already here")
                return False
            self._tell_of(stage, blob, 0)
            loop = asyncio.get_running_loop()
            grown = partial(self.arrivals.coming(blob.digest), part) if stage == "layer" else None
            report = _ThreadReport(loop, partial(self._tell_of, stage, blob), grown)
            failure: BoxliteError | None = None
            for client in self.clients:
                transfer = loop.run_in_executor(self.threads, client.fetch_blob, blob, part, report)
                try:
                    await asyncio.shield(transfer)
                except asyncio.CancelledError:
                    self.cancel()
                    await asyncio.gather(
                        transfer, return_exceptions=True
                    )  # the lock stays while a thread writes
                    raise
                except (ImageNotFoundError, NetworkError, RegistryAuthError) as error:
                    failure = failure or error
                    continue
                self._tell_of(stage, blob, blob.size_bytes, "pulled")
                return True
            assert failure is not None
            raise failure

    def _image(self, manifest: Manifest, manifest_digest: str, source_digest: str) -> Image:
        """The image as it will be once its layers are here."""
        document = parse_config(read_blob(self.layout, manifest.config.digest), manifest, self.name.familiar)
        return Image(
            reference=str(self.name),
            manifest_digest=manifest_digest,
            config_digest=manifest.config.digest,
            config=document.config,
            layers=layers_of(manifest, document),
            size_bytes=sum(layer.size_bytes for layer in manifest.layers),
            pulled_at=utc_now(),
            source_digest=source_digest,
        )

    def _check_config(self, manifest: Manifest) -> None:
        what = self.name.familiar
        document = parse_config(read_blob(self.layout, manifest.config.digest), manifest, what)
        if document.config.os != "linux":
            raise UnsupportedError(f"{what} is for {document.platform}; boxes run linux")
        if self.platform is not None and self.platform.rank(document.platform) is None:
            raise ImageError(
                f"{what} is for {document.platform}, not for {self.platform}",
                hint="it is there for no other platform; leave out --platform to have it as it is",
            )

    def _tell_of(self, stage: str, blob: Descriptor, done: int, message: str = "") -> None:
        self._tell(stage, item=blob.digest, done=done, total=blob.size_bytes, message=message)

    def _tell(
        self, stage: str, *, item: str = "", done: int = 0, total: int | None = None, message: str = ""
    ) -> None:
        self.progress(
            Progress(stage=stage, item=item or self.name.familiar, done=done, total=total, message=message)
        )


class _ThreadReport:
    """Carries a transfer's progress from its thread to the loop, a mebibyte at a time; `grown` is told of every byte."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[int], None],
        grown: Callable[[int], None] | None,
    ) -> None:
        self._loop, self._tell, self._grown = loop, tell, grown
        self._told = 0

    def __call__(self, held: int) -> None:
        if self._grown is not None:
            self._grown(held)
        if held - self._told >= _REPORT_STEP_BYTES:
            self._told = held
            self._loop.call_soon_threadsafe(self._tell, held)
