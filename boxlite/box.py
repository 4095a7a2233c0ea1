"""A box in the hands of a program."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from boxlite.conversion import env_pairs, words
from boxlite.execution import ExecResult, Execution
from boxlite.network import BoxNetwork
from boxlite.values import BoxInfo, HealthReport, box_info
from engine.errors import BoxliteError, NotFoundError
from engine.model import ExecSpec
from engine.runtime.files import BoxFiles

if TYPE_CHECKING:
    from boxlite.listening import Listening
    from engine.metrics import BoxMetrics
    from engine.runtime import Runtime
    from engine.runtime.copy_rules import CopyOptions
    from engine.runtime.link import BoxLink


class Box(BoxFiles):
    """One box. Made by `Boxlite.create` and `Boxlite.get`; may be used by any number of tasks at once.

    It starts when something is first executed in it. Every method raises members of BoxliteError only, with the box
    and the operation in them; NotFoundError when the box is gone.
    """

    def __init__(
        self, runtime: Runtime, link: BoxLink, *, on_gone: Callable[[str], None], listening: Listening
    ) -> None:
        self._runtime = runtime
        self._link = link
        self._on_gone = on_gone
        self._listening = listening
        self.network = BoxNetwork(lambda: (runtime, link))
        self.is_ours = False
        """Was it created by the Boxlite that gave it?"""

    @property
    def id(self) -> str:
        """Its id, which never changes."""
        return self._link.record.id

    @property
    def name(self) -> str:
        """Its name as last seen."""
        return self._link.record.name

    def _file_link(self) -> BoxLink:
        return self._link

    def __repr__(self) -> str:
        return f"<Box {self.name} {self.id}>"

    async def info(self) -> BoxInfo:
        """What is on record of it now. Raises NotFoundError when it is gone."""
        return box_info(await self._runtime.get(self.id))

    async def start(self) -> None:
        """Start it; one that runs is left alone. Returns once its main command runs."""
        try:
            await self._link.start()
        except BoxliteError:
            self._listening.counts.failed += 1
            raise
        await self._listening.catch_up()

    async def stop(self, *, timeout: float | None = None) -> None:
        """Ask its main command to end, kill it after `timeout` seconds, wait for the end. One that has ended, or is
        gone as `auto_remove` promises, is left alone."""
        try:
            await self._runtime.stop(self.id, timeout_s=timeout)
        except NotFoundError:
            if not self._link.record.spec.auto_remove:
                raise
        self._listening.counts.stopped += 1
        await self._link.close()
        await self._listening.catch_up()
        if self._link.record.spec.auto_remove:
            self._on_gone(self.id)

    async def remove(self, *, force: bool = False) -> None:
        """Delete it and its disk. Raises InvalidStateError for one that runs, unless `force`."""
        await self._runtime.remove(self.id, force=force)
        await self._link.close()
        await self._listening.catch_up()
        self._on_gone(self.id)

    async def rename(self, name: str) -> None:
        """Give it another name. Raises AlreadyExistsError for one that is taken."""
        self._link.record = await self._runtime.rename(self.id, name)

    async def exec(
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
    ) -> Execution:
        """Run a command beside whatever runs; returns once it runs. `env` is added to the box's own. At the timeout it
        is killed with all its processes. `stdin` False: it reads end of file.

        Raises CommandNotFoundError, CommandNotExecutableError; InvalidStateError for a box that has run a command of
        its own, whose start would run that again.
        """
        spec = ExecSpec(
            argv=(command, *(words(args, "args") or ())),
            env=env_pairs(env or ()),
            working_dir=cwd,
            user=user,
            tty=tty,
            stdin=stdin,
            timeout_s=timeout_secs or 0.0,
        )
        return await self._executed(spec)

    async def _executed(self, spec: ExecSpec) -> Execution:
        begun = time.monotonic()
        command, *args = spec.argv
        listening = self._listening
        try:
            running = await self._link.exec(spec)
        except BoxliteError:
            listening.counts.exec_errors += 1
            raise

        def ended(result: ExecResult) -> None:
            listening.exec_ended(self.id, command, result.exit_code, time.monotonic() - begun)

        execution = Execution(self._link, running, has_stdin=spec.stdin)
        try:
            await listening.exec_started(self.id, command, args)
        except BaseException:
            await asyncio.shield(execution.kill())  # nobody has it who could
            raise
        if listening.is_heard:
            execution._tell_when_ended(ended)
        return execution

    async def exec_shell(
        self,
        command: str,
        *,
        env: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        user: str | None = None,
        timeout_secs: float | None = None,
        cwd: str | None = None,
        shell: str = "/bin/sh",
    ) -> Execution:
        """Run one line of shell, with nothing to read: `await box.exec_shell("cd /src && grep -rn TODO .")`."""
        return await self.exec(
            shell, ["-c", command], env=env, user=user, timeout_secs=timeout_secs, cwd=cwd, stdin=False
        )

    async def attach(self) -> Execution:
        """Its main command; what that printed last (256 KiB a stream) comes first. Raises InvalidStateError when the box
        does not run."""
        command = await self._link.main()
        return Execution(self._link, command, has_stdin=True)

    async def copy_in(
        self,
        source: str | Path,
        target: str,
        *,
        overwrite: bool = True,
        follow_symlinks: bool = False,
        include_parent: bool = True,
    ) -> None:
        """Copy a file or directory of the host into the box, which need not run. The rules are those of `boxlite cp`: a
        directory keeps its name below `target`, or with `include_parent` False gives only its contents.
        Raises NotFoundError, AlreadyExistsError without `overwrite`."""
        options = _copy_options(overwrite, follow_symlinks, include_parent)
        await self._runtime.copy_in(self.id, str(source), target, options)
        await self._listening.copied(self.id, str(source), target, into_box=True)

    async def copy_out(
        self,
        source: str,
        target: str | Path,
        *,
        overwrite: bool = True,
        follow_symlinks: bool = False,
        include_parent: bool = True,
    ) -> None:
        """Copy a file or directory of the box to the host; the options are those of `copy_in`. Raises DeniedError when
        the box tries to reach anything else."""
        options = _copy_options(overwrite, follow_symlinks, include_parent)
        await self._runtime.copy_out(self.id, source, str(target), options)
        await self._listening.copied(self.id, source, str(target), into_box=False)

    async def metrics(self) -> BoxMetrics:
        """What it uses now. Raises InvalidStateError when it does not run."""
        return await self._runtime.metrics(self.id)

    async def health_check(self) -> HealthReport:
        """How it is: its state, and where it runs, whether its machine answers within a few seconds."""
        record = await self._runtime.get(self.id)
        round_trip_ms = problem = None
        if record.status.is_running:
            try:
                round_trip_ms = await self._link.ping()
            except BoxliteError as error:
                problem = error.message
                record = await self._runtime.get(self.id)
        else:
            problem = record.state.reason or f"it is {record.status}"
        return HealthReport(
            status=record.status,
            responsive=round_trip_ms is not None,
            round_trip_ms=round_trip_ms,
            health=record.state.health,
            problem=problem,
        )

    async def close(self) -> None:
        """Let go of it: one that this program started ends, unless it is detached."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _copy_options(overwrite: bool, follow_symlinks: bool, include_parent: bool) -> CopyOptions:
    from engine.runtime.copy_rules import CopyOptions

    return CopyOptions(overwrite=overwrite, follow_link=follow_symlinks, include_parent=include_parent)
