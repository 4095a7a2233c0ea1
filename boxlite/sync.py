"""The same library for programs without an event loop: every call runs on one loop in a thread of its own.

Works in threads, and where a loop runs already (Jupyter), since the loop is never the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from boxlite.background import background, iterate
from boxlite.runtime import Boxlite
from boxlite.sync_execution import SyncExecution
from boxlite.sync_files import SyncFiles
from boxlite.sync_network import SyncBoxNetwork
from engine.model import PullPolicy

if TYPE_CHECKING:
    from boxlite.box import Box
    from boxlite.options import BoxOptions, Options
    from boxlite.values import BoxInfo, HealthReport, ImageInfo, RuntimeMetrics, StaleItem, VolumeInfo
    from engine.events import BoxEvent
    from engine.metrics import BoxMetrics
    from engine.runtime.files import BoxFiles


class SyncBox(SyncFiles):
    """`Box`, called plainly."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def _async_files(self) -> BoxFiles:
        return self._box

    @property
    def id(self) -> str:
        """See `Box.id`."""
        return self._box.id

    @property
    def name(self) -> str:
        """See `Box.name`."""
        return self._box.name

    @property
    def network(self) -> SyncBoxNetwork:
        """See `Box.network`."""
        return SyncBoxNetwork(self._box.network)

    @property
    def is_ours(self) -> bool:
        """See `Box.is_ours`."""
        return self._box.is_ours

    def info(self) -> BoxInfo:
        """See `Box.info`."""
        return background.run(self._box.info())

    def start(self) -> None:
        """See `Box.start`."""
        background.run(self._box.start())

    def stop(self, *, timeout: float | None = None) -> None:
        """See `Box.stop`."""
        background.run(self._box.stop(timeout=timeout))

    def remove(self, *, force: bool = False) -> None:
        """See `Box.remove`."""
        background.run(self._box.remove(force=force))

    def rename(self, name: str) -> None:
        """See `Box.rename`."""
        background.run(self._box.rename(name))

    def exec(
        self,
        command: str,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        tty: bool = False,
        user: str | None = None,
        timeout_secs: float | None = None,
        cwd: str | None = None,
        *,
        stdin: bool = True,
    ) -> SyncExecution:
        """See `Box.exec`."""
        return SyncExecution(
            background.run(self._box.exec(command, args, env, tty, user, timeout_secs, cwd, stdin=stdin))
        )

    def exec_shell(
        self,
        command: str,
        *,
        env: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        user: str | None = None,
        timeout_secs: float | None = None,
        cwd: str | None = None,
        shell: str = "/bin/sh",
    ) -> SyncExecution:
        """See `Box.exec_shell`."""
        running = self._box.exec_shell(
            command, env=env, user=user, timeout_secs=timeout_secs, cwd=cwd, shell=shell
        )
        return SyncExecution(background.run(running))

    def attach(self) -> SyncExecution:
        """See `Box.attach`."""
        return SyncExecution(background.run(self._box.attach()))

    def copy_in(
        self,
        source: str | Path,
        target: str,
        *,
        overwrite: bool = True,
        follow_symlinks: bool = False,
        include_parent: bool = True,
    ) -> None:
        """See `Box.copy_in`."""
        background.run(self._box.copy_in(
            source, target,
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent,
        ))  # fmt: skip

    def copy_out(
        self,
        source: str,
        target: str | Path,
        *,
        overwrite: bool = True,
        follow_symlinks: bool = False,
        include_parent: bool = True,
    ) -> None:
        """See `Box.copy_out`."""
        background.run(self._box.copy_out(
            source, target,
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent,
        ))  # fmt: skip

    def metrics(self) -> BoxMetrics:
        """See `Box.metrics`."""
        return background.run(self._box.metrics())

    def health_check(self) -> HealthReport:
        """See `Box.health_check`."""
        return background.run(self._box.health_check())

    def close(self) -> None:
        """See `Box.close`."""
        background.run(self._box.close())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class SyncImages:
    """`Images`, called plainly."""

    def __init__(self, runtime: Boxlite) -> None:
        self._images = runtime.images

    def pull(
        self, reference: str, *, platform: str | None = None, policy: PullPolicy = PullPolicy.ALWAYS
    ) -> ImageInfo:
        """See `Images.pull`."""
        return background.run(self._images.pull(reference, platform=platform, policy=policy))

    def list(self) -> Sequence[ImageInfo]:
        """See `Images.list`."""
        return background.run(self._images.list())

    def get(self, name: str) -> ImageInfo | None:
        """See `Images.get`."""
        return background.run(self._images.get(name))

    def remove(self, name: str, *, force: bool = False) -> None:
        """See `Images.remove`."""
        background.run(self._images.remove(name, force=force))


class SyncVolumes:
    """`Volumes`, called plainly."""

    def __init__(self, runtime: Boxlite) -> None:
        self._volumes = runtime.volumes

    def create(self, name: str | None = None, *, labels: Mapping[str, str] | None = None) -> VolumeInfo:
        """See `Volumes.create`."""
        return background.run(self._volumes.create(name, labels=labels))

    def list(self) -> Sequence[VolumeInfo]:
        """See `Volumes.list`."""
        return background.run(self._volumes.list())

    def get(self, name: str) -> VolumeInfo | None:
        """See `Volumes.get`."""
        return background.run(self._volumes.get(name))

    def remove(self, name: str) -> None:
        """See `Volumes.remove`."""
        background.run(self._volumes.remove(name))


class SyncBoxlite:
    """`Boxlite`, called plainly."""

    def __init__(self, options: Options | None = None, *, runtime: Boxlite | None = None) -> None:
        self.runtime = runtime or Boxlite(options)
        self.images = SyncImages(self.runtime)
        self.volumes = SyncVolumes(self.runtime)

    @classmethod
    def default(cls) -> Self:
        """See `Boxlite.default`."""
        return cls(runtime=Boxlite.default())

    @classmethod
    def init_default(cls, options: Options) -> Self:
        """See `Boxlite.init_default`."""
        return cls(runtime=Boxlite.init_default(options))

    def create(self, options: BoxOptions, name: str | None = None) -> SyncBox:
        """See `Boxlite.create`."""
        return SyncBox(background.run(self.runtime.create(options, name)))

    def get(self, box: str) -> SyncBox | None:
        """See `Boxlite.get`."""
        found = background.run(self.runtime.get(box))
        return None if found is None else SyncBox(found)

    def get_or_create(self, options: BoxOptions, name: str) -> tuple[SyncBox, bool]:
        """See `Boxlite.get_or_create`."""
        box, created = background.run(self.runtime.get_or_create(options, name))
        return SyncBox(box), created

    def exists(self, box: str) -> bool:
        """See `Boxlite.exists`."""
        return background.run(self.runtime.exists(box))

    def get_info(self, box: str) -> BoxInfo | None:
        """See `Boxlite.get_info`."""
        return background.run(self.runtime.get_info(box))

    def list_info(self) -> Sequence[BoxInfo]:
        """See `Boxlite.list_info`."""
        return background.run(self.runtime.list_info())

    def remove(self, box: str, force: bool = False) -> None:
        """See `Boxlite.remove`."""
        background.run(self.runtime.remove(box, force))

    def metrics(self) -> RuntimeMetrics:
        """See `Boxlite.metrics`."""
        return background.run(self.runtime.metrics())

    def cleanup_stale(self) -> Sequence[StaleItem]:
        """See `Boxlite.cleanup_stale`."""
        return background.run(self.runtime.cleanup_stale())

    def events(
        self, *, after_cursor: int | None = None, since: datetime | None = None, follow: bool = True
    ) -> Iterator[BoxEvent]:
        """See `Boxlite.events`."""
        return iterate(self.runtime.events(after_cursor=after_cursor, since=since, follow=follow))

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop the boxes this made. The end of the program does that too, without waiting for theirs."""
        background.run(self.runtime.shutdown(timeout))

    def close(self) -> None:
        """The same as `shutdown`."""
        self.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
