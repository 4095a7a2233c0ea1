"""The same library for programs without an event loop: every call runs on one loop in a thread of its own.

Works in threads, and where a loop runs already (Jupyter), since the loop is never the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from boxlite.background import background, iterate
from boxlite.runtime import Boxlite
from boxlite.simplebox import CodeBox, SimpleBox
from boxlite.sync_files import SyncFiles

if TYPE_CHECKING:
    from boxlite.box import Box
    from boxlite.execution import ExecResult, Execution
    from boxlite.options import BoxOptions, Options
    from boxlite.simplebox import MoreOptions
    from boxlite.streams import Input, Output
    from boxlite.values import BoxInfo, HealthReport, ImageInfo
    from engine.metrics import BoxMetrics
    from engine.runtime.files import BoxFiles


class SyncOutput:
    """`Output`, iterated plainly."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __iter__(self) -> Iterator[str]:
        return iterate(self._output)

    def read(self) -> bytes:
        return background.run(self._output.read())


class SyncInput:
    """`Input`, called plainly."""

    def __init__(self, stdin: Input) -> None:
        self._input = stdin

    def send_input(self, data: bytes | str) -> None:
        background.run(self._input.send_input(data))

    def close(self) -> None:
        background.run(self._input.close())

    def is_closed(self) -> bool:
        return self._input.is_closed()


class SyncExecution:
    """`Execution`, called plainly."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def id(self) -> str:
        return self._execution.id

    def stdin(self) -> SyncInput:
        return SyncInput(self._execution.stdin())

    def stdout(self) -> SyncOutput:
        return SyncOutput(self._execution.stdout())

    def stderr(self) -> SyncOutput:
        return SyncOutput(self._execution.stderr())

    def wait(self) -> ExecResult:
        return background.run(self._execution.wait())

    def collect(self) -> ExecResult:
        return background.run(self._execution.collect())

    def signal(self, signum: int) -> None:
        background.run(self._execution.signal(signum))

    def kill(self) -> None:
        background.run(self._execution.kill())

    def resize_tty(self, rows: int, cols: int) -> None:
        background.run(self._execution.resize_tty(rows, cols))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        background.run(self._execution.__aexit__(kind, error, trace))


class SyncBox(SyncFiles):
    """`Box`, called plainly."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def _async_files(self) -> BoxFiles:
        return self._box

    @property
    def id(self) -> str:
        return self._box.id

    @property
    def name(self) -> str:
        return self._box.name

    def info(self) -> BoxInfo:
        return background.run(self._box.info())

    def start(self) -> None:
        background.run(self._box.start())

    def stop(self, *, timeout: float | None = None) -> None:
        background.run(self._box.stop(timeout=timeout))

    def remove(self, *, force: bool = False) -> None:
        background.run(self._box.remove(force=force))

    def rename(self, name: str) -> None:
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
        return SyncExecution(
            background.run(self._box.exec(command, args, env, tty, user, timeout_secs, cwd, stdin=stdin))
        )

    def exec_shell(
        self, command: str, *, timeout_secs: float | None = None, cwd: str | None = None
    ) -> SyncExecution:
        return SyncExecution(
            background.run(self._box.exec_shell(command, timeout_secs=timeout_secs, cwd=cwd))
        )

    def attach(self) -> SyncExecution:
        return SyncExecution(background.run(self._box.attach()))

    def metrics(self) -> BoxMetrics:
        return background.run(self._box.metrics())

    def health_check(self) -> HealthReport:
        return background.run(self._box.health_check())

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

    def pull(self, reference: str, *, platform: str | None = None) -> ImageInfo:
        return background.run(self._images.pull(reference, platform=platform))

    def list(self) -> Sequence[ImageInfo]:
        return background.run(self._images.list())

    def get(self, name: str) -> ImageInfo | None:
        return background.run(self._images.get(name))

    def remove(self, name: str, *, force: bool = False) -> None:
        background.run(self._images.remove(name, force=force))


class SyncBoxlite:
    """`Boxlite`, called plainly."""

    def __init__(self, options: Options | None = None, *, runtime: Boxlite | None = None) -> None:
        self.runtime = runtime or Boxlite(options)
        self.images = SyncImages(self.runtime)

    @classmethod
    def default(cls) -> Self:
        return cls(runtime=Boxlite.default())

    def create(self, options: BoxOptions, name: str | None = None) -> SyncBox:
        return SyncBox(background.run(self.runtime.create(options, name)))

    def get(self, box: str) -> SyncBox | None:
        found = background.run(self.runtime.get(box))
        return None if found is None else SyncBox(found)

    def get_or_create(self, options: BoxOptions, name: str) -> tuple[SyncBox, bool]:
        box, created = background.run(self.runtime.get_or_create(options, name))
        return SyncBox(box), created

    def exists(self, box: str) -> bool:
        return background.run(self.runtime.exists(box))

    def get_info(self, box: str) -> BoxInfo | None:
        return background.run(self.runtime.get_info(box))

    def list_info(self) -> Sequence[BoxInfo]:
        return background.run(self.runtime.list_info())

    def remove(self, box: str, force: bool = False) -> None:
        background.run(self.runtime.remove(box, force))

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop the boxes this made. The end of the program does that too, without waiting for theirs."""
        background.run(self.runtime.shutdown(timeout))

    close = shutdown

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


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
        return self._simple.id

    def start(self) -> Self:
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
        return background.run(self._simple.exec(command, *args, env=env, user=user, timeout=timeout, cwd=cwd))

    def info(self) -> BoxInfo:
        return background.run(self._simple.info())

    def metrics(self) -> BoxMetrics:
        return background.run(self._simple.metrics())

    def stop(self) -> None:
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
        return background.run(self._simple.run(code, timeout))

    def run_script(self, path: str | Path, timeout: float | None = None) -> str:
        return background.run(self._simple.run_script(path, timeout))

    def install_package(self, package: str) -> str:
        return background.run(self._simple.install_package(package))

    def install_packages(self, *packages: str) -> str:
        return background.run(self._simple.install_packages(*packages))
