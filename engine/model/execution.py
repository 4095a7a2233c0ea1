"""Commands in a box: what was asked for, how it ended, what it wrote."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from engine.errors import InvalidArgumentError
from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSize:
    rows: int
    cols: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A further command in a running box. `env` is added to the box's; None or 0 elsewhere: as the box has it."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    user: str | None = None
    tty: bool = False
    stdin: bool = False
    size: TerminalSize | None = None
    privileged: bool = False
    timeout_s: float = 0.0
    detach: bool = False

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise InvalidArgumentError("no command given")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a command ended. `exit_code` is 0..255, 128+N when signal N ended it; `error` says why it could not be
    run at all, if so."""

    exit_code: int
    signal: int = 0
    timed_out: bool = False
    oom_killed: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A piece of the main command's output, as it was written."""

    time: datetime
    stream: Literal["stdout", "stderr"]
    data: bytes
