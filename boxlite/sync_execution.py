"""Commands in boxes for programs without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from boxlite.background import background, iterate

if TYPE_CHECKING:
    from boxlite.execution import ExecResult, Execution
    from boxlite.streams import Input, Output


class SyncOutput:
    """`Output`, iterated plainly."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __iter__(self) -> Iterator[str]:
        return iterate(self._output)

    def chunks(self) -> Iterator[bytes]:
        """See `Output.chunks`."""
        return iterate(self._output.chunks())

    def read(self) -> bytes:
        """See `Output.read`."""
        return background.run(self._output.read())


class SyncInput:
    """`Input`, called plainly."""

    def __init__(self, stdin: Input) -> None:
        self._input = stdin

    def send_input(self, data: bytes | str) -> None:
        """See `Input.send_input`."""
        background.run(self._input.send_input(data))

    def close(self) -> None:
        """See `Input.close`."""
        background.run(self._input.close())

    def is_closed(self) -> bool:
        """See `Input.is_closed`."""
        return self._input.is_closed()


class SyncExecution:
    """`Execution`, called plainly."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def id(self) -> str:
        """See `Execution.id`."""
        return self._execution.id

    def stdin(self) -> SyncInput:
        """See `Execution.stdin`."""
        return SyncInput(self._execution.stdin())

    def stdout(self) -> SyncOutput:
        """See `Execution.stdout`."""
        return SyncOutput(self._execution.stdout())

    def stderr(self) -> SyncOutput:
        """See `Execution.stderr`."""
        return SyncOutput(self._execution.stderr())

    def wait(self) -> ExecResult:
        """See `Execution.wait`."""
        return background.run(self._execution.wait())

    def collect(self) -> ExecResult:
        """See `Execution.collect`."""
        return background.run(self._execution.collect())

    def signal(self, signum: int) -> None:
        """See `Execution.signal`."""
        background.run(self._execution.signal(signum))

    def kill(self) -> None:
        """See `Execution.kill`."""
        background.run(self._execution.kill())

    def resize_tty(self, rows: int, cols: int) -> None:
        """See `Execution.resize_tty`."""
        background.run(self._execution.resize_tty(rows, cols))

    def close(self) -> None:
        """See `Execution.close`."""
        background.run(self._execution.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        background.run(self._execution.__aexit__(kind, error, trace))
