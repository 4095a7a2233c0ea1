"""Boxes for those who want one command and its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from boxlite.errors import ExecError, TimeoutError  # noqa: A004
from boxlite.options import BoxOptions
from boxlite.runtime import Boxlite
from engine.runtime.files import BoxFiles

if TYPE_CHECKING:
    from boxlite.box import Box
    from boxlite.execution import ExecResult
    from boxlite.network import BoxNetwork
    from boxlite.options import AdvancedBoxOptions, NetworkSpec, Port, Secret, Volume
    from boxlite.security import SecurityOptions
    from boxlite.values import BoxInfo
    from engine.metrics import BoxMetrics
    from engine.runtime.link import BoxLink

DEFAULT_IMAGE = "python:slim"


class MoreOptions(TypedDict, total=False):
    """The fields of BoxOptions that `SimpleBox` passes on."""

    disk_size_gb: int | None
    working_dir: str | None
    env: Mapping[str, str] | Sequence[tuple[str, str]]
    entrypoint: Sequence[str] | None
    cmd: Sequence[str] | None
    user: str | None
    hostname: str | None
    volumes: Sequence[Volume]
    ports: Sequence[Port]
    network: NetworkSpec | None
    secrets: Sequence[Secret]
    labels: Mapping[str, str]
    detach: bool
    auto_stop: float
    auto_delete: float
    auto_resume: bool
    timeout: float
    stop_timeout: float
    read_only: bool
    init: bool | None
    security: SecurityOptions | None
    advanced: AdvancedBoxOptions | None
    platform: str | None


class SimpleBox(BoxFiles):
    """A box that lasts as long as its context: `async with SimpleBox("alpine:3.20") as box: await box.exec("ls")`.

    `runtime` None: `Boxlite.default()`. With `reuse_existing` a box named `name` that exists is taken as it is.
    """

    def __init__(
        self,
        image: str | None = None,
        memory_mib: int | None = None,
        cpus: int | None = None,
        runtime: Boxlite | None = None,
        name: str | None = None,
        auto_remove: bool = True,
        reuse_existing: bool = False,
        rootfs_path: str | Path | None = None,
        **options: Unpack[MoreOptions],
    ) -> None:
        if image is None and rootfs_path is None:
            image = DEFAULT_IMAGE
        chosen = BoxOptions(image=image, rootfs_path=rootfs_path, auto_remove=auto_remove, **options)
        self._options = replace(chosen, memory_mib=memory_mib or chosen.memory_mib, cpus=cpus or chosen.cpus)
        self._runtime = runtime
        self._name = name
        self._reuse = reuse_existing
        self._box: Box | None = None
        self._created: bool | None = None

    @property
    def box(self) -> Box:
        """The box itself. Raises RuntimeError before it is started."""
        if self._box is None:
            raise RuntimeError("not started: use `async with`, or start() first")
        return self._box

    def _file_link(self) -> BoxLink:
        return self.box._file_link()

    @property
    def network(self) -> BoxNetwork:
        """Tunnels to its ports. Raises RuntimeError before it is started."""
        return self.box.network

    @property
    def id(self) -> str:
        """Its id. Raises RuntimeError before it is started."""
        return self.box.id

    @property
    def created(self) -> bool | None:
        """Was it made, rather than found by name? None before it is started."""
        return self._created

    async def start(self) -> Self:
        """Have it running. Idempotent."""
        if self._box is None:
            runtime = self._runtime or Boxlite.default()
            if self._reuse and self._name is not None:
                self._box, self._created = await runtime.get_or_create(self._options, self._name)
            else:
                self._box, self._created = await runtime.create(self._options, self._name), True
        try:
            await self._box.start()
        except BaseException:
            if self._created and self._options.auto_remove:
                box, self._box = self._box, None
                await (self._runtime or Boxlite.default()).remove(box.id, force=True)
            raise
        return self

    async def exec(
        self,
        command: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout: float | None = None,
        cwd: str | None = None,
    ) -> ExecResult:
        """Run a command to its end and collect its output. Raises TimeoutError when it takes longer than `timeout`
        seconds; it is then killed with all its processes, as it is when this call is cancelled."""
        execution = await self.box.exec(
            command, args, env=env, user=user, timeout_secs=timeout, cwd=cwd, stdin=False
        )
        async with execution:
            result = await execution.collect()
        if result.timed_out:
            raise TimeoutError(
                f"{command} took longer than {timeout:g} s", box=self.box.name, operation="exec"
            )
        return result

    async def copy_in(
        self,
        source: str | Path,
        target: str,
        *,
        overwrite: bool = True,
        follow_symlinks: bool = False,
        include_parent: bool = True,
    ) -> None:
        """Copy a file or directory of the host into the box: `Box.copy_in`."""
        await self.box.copy_in(
            source, target,
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent,
        )  # fmt: skip

    async def copy_out(
        self,
        source: str,
        target: str | Path,
        *,
        overwrite: bool = True,
        follow_symlinks: bool = False,
        include_parent: bool = True,
    ) -> None:
        """Copy a file or directory of the box to the host: `Box.copy_out`."""
        await self.box.copy_out(
            source, target,
            overwrite=overwrite, follow_symlinks=follow_symlinks, include_parent=include_parent,
        )  # fmt: skip

    async def info(self) -> BoxInfo:
        """What is on record of it now."""
        return await self.box.info()

    async def metrics(self) -> BoxMetrics:
        """What it uses now."""
        return await self.box.metrics()

    async def stop(self) -> None:
        """End it; with `auto_remove` it is gone afterwards. Idempotent."""
        if self._box is not None:
            box, self._box = self._box, None
            await box.stop()

    async def shutdown(self) -> None:
        """The same as `stop`."""
        await self.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class CodeBox(SimpleBox):
    """A box that runs Python."""

    async def run(self, code: str, timeout: float | None = None) -> str:
        """Run code in an interpreter of its own; what it printed.

        Raises ExecError with its standard error when it fails, TimeoutError when it takes longer than `timeout` seconds.
        """
        return await self._succeed("python3", "-c", code, timeout=timeout)

    async def run_script(self, path: str | Path, timeout: float | None = None) -> str:
        """Run a script of the host; what it printed. Raises what `run` does, and OSError."""
        return await self.run(Path(path).read_text(encoding="utf-8"), timeout)

    async def install_package(self, package: str) -> str:
        """Have pip install a package; what it printed. Raises ExecError."""
        return await self.install_packages(package)

    async def install_packages(self, *packages: str) -> str:
        """Have pip install packages; what it printed. Raises ExecError."""
        return await self._succeed("python3", "-m", "pip", "install", "--no-input", *packages)

    async def _succeed(self, command: str, *args: str, timeout: float | None = None) -> str:
        result = await self.exec(command, *args, timeout=timeout)
        if not result.success:
            raise ExecError(command, result.exit_code, result.stderr)
        return result.stdout
