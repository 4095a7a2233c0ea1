"""The boxes of one line, for programs without an event loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from boxlite.background import background
from boxlite.interactive import InteractiveBox
from boxlite.runtime import Boxlite
from boxlite.simplebox import CodeBox, SimpleBox
from boxlite.sync import SyncBox, SyncBoxlite
from boxlite.sync_execution import SyncExecution
from boxlite.sync_files import SyncFiles
from boxlite.sync_network import SyncBoxNetwork

if TYPE_CHECKING:
    from boxlite.execution import ExecResult
    from boxlite.simplebox import MoreOptions
    from boxlite.values import BoxInfo
    from engine.metrics import BoxMetrics
    from engine.runtime.files import BoxFiles


class SyncSimpleBox(SyncFiles):
    """`SimpleBox`, called plainly: `with SyncSimpleBox("alpine:3.20") as box: box.exec("ls")`. `runtime` None: one of its
    own, which ends with it."""

    def __init__(
        self,
        image: str | None = None,
        memory_mib: int | None = None,
        cpus: int | None = None,
        runtime: SyncBoxlite | None = None,
        name: str | None = None,
        auto_remove: bool = True,
        reuse_existing: bool = False,
        rootfs_path: str | Path | None = None,
        **options: Unpack[MoreOptions],
    ) -> None:
        self._own = None if runtime is not None else Boxlite()
        self._simple = self._kind()(
            image, memory_mib, cpus, runtime.runtime if runtime else self._own, name, auto_remove, reuse_existing,
            rootfs_path, **options,
        )  # fmt: skip

    @staticmethod
    def _kind() -> type[SimpleBox]:
        return SimpleBox

    def _async_files(self) -> BoxFiles:
        return self._simple

    @property
    def id(self) -> str:
        """See `SimpleBox.id`."""
        return self._simple.id

    def start(self) -> Self:
        """See `SimpleBox.start`."""
        background.run(self._simple.start())
        return self

    def exec(
        self,
        command: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout: float | None = None,
        cwd: str | None = None,
    ) -> ExecResult:
        """See `SimpleBox.exec`."""
        return background.run(self._simple.exec(command, *args, env=env, user=user, timeout=timeout, cwd=cwd))

    def copy_in(
        self,
        source: str | Path,
        target: str,
        *,
        overwrite: bool = True,
        follow_symlinks: bool = False,
        include_parent: bool = True,
    ) -> None:
        """See `SimpleBox.copy_in`."""
        background.run(self._simple.copy_in(
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
        """See `SimpleBox.copy_out`."""
        background.run(self._simple.copy_out(
            source, target,
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent,
        ))  # fmt: skip

    @property
    def network(self) -> SyncBoxNetwork:
        """See `SimpleBox.network`."""
        return SyncBoxNetwork(self._simple.network)

    @property
    def created(self) -> bool | None:
        """See `SimpleBox.created`."""
        return self._simple.created

    @property
    def box(self) -> SyncBox:
        """See `SimpleBox.box`."""
        return SyncBox(self._simple.box)

    def shutdown(self) -> None:
        """See `SimpleBox.shutdown`."""
        self.stop()

    def info(self) -> BoxInfo:
        """See `SimpleBox.info`."""
        return background.run(self._simple.info())

    def metrics(self) -> BoxMetrics:
        """See `SimpleBox.metrics`."""
        return background.run(self._simple.metrics())

    def stop(self) -> None:
        """See `SimpleBox.stop`."""
        background.run(self._simple.stop())
        if self._own is not None:
            background.run(self._own.shutdown())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class SyncCodeBox(SyncSimpleBox):
    """`CodeBox`, called plainly."""

    _simple: CodeBox

    @staticmethod
    def _kind() -> type[CodeBox]:
        return CodeBox

    def run(self, code: str, timeout: float | None = None) -> str:
        """See `CodeBox.run`."""
        return background.run(self._simple.run(code, timeout))

    def run_script(self, path: str | Path, timeout: float | None = None) -> str:
        """See `CodeBox.run_script`."""
        return background.run(self._simple.run_script(path, timeout))

    def install_package(self, package: str) -> str:
        """See `CodeBox.install_package`."""
        return background.run(self._simple.install_package(package))

    def install_packages(self, *packages: str) -> str:
        """See `CodeBox.install_packages`."""
        return background.run(self._simple.install_packages(*packages))


class SyncInteractiveBox(SyncSimpleBox):
    """`InteractiveBox`, called plainly: `with SyncInteractiveBox("alpine:3.20") as box: box.wait()`."""

    _simple: InteractiveBox

    def __init__(
        self,
        image: str | None = None,
        shell: str = "/bin/sh",
        tty: bool | None = None,
        memory_mib: int | None = None,
        cpus: int | None = None,
        runtime: SyncBoxlite | None = None,
        name: str | None = None,
        auto_remove: bool = True,
        reuse_existing: bool = False,
        rootfs_path: str | Path | None = None,
        **options: Unpack[MoreOptions],
    ) -> None:
        self._own = None if runtime is not None else Boxlite()
        self._simple = InteractiveBox(
            image, shell, tty, memory_mib, cpus, runtime.runtime if runtime else self._own, name, auto_remove,
            reuse_existing, rootfs_path, **options,
        )  # fmt: skip

    @property
    def shell(self) -> SyncExecution:
        """See `InteractiveBox.shell`."""
        return SyncExecution(self._simple.shell)

    def wait(self) -> ExecResult:
        """See `InteractiveBox.wait`."""
        return background.run(self._simple.wait())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            background.run(self._simple.__aexit__(kind, error, trace))
        finally:
            self.stop()
