"""What the options of one process amount to: an ExecSpec, and the parts of a BoxSpec that are the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from boxlite_cli import parsers
from boxlite_cli.failures import NotATerminalError, warn
from boxlite_cli.process_options import EnvironmentOptions, TerminalOptions
from engine.model import ExecSpec, TerminalSize

DEFAULT_TERM = "xterm"


def build_exec_spec(
    words: Sequence[str],
    environment_options: EnvironmentOptions,
    terminal: TerminalOptions,
    *,
    size: TerminalSize | None = None,
    privileged: bool = False,
    timeout: str | None = None,
    detach: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> ExecSpec:
    """What the options and the words after the box's name (COMMAND…) ask for."""
    return ExecSpec(
        argv=tuple(words),
        env=process_environment(environment_options, environment, tty=terminal.tty),
        working_dir=environment_options.workdir,
        user=terminal.user,
        tty=terminal.tty,
        stdin=terminal.interactive,
        size=size if terminal.tty else None,
        privileged=privileged,
        timeout_s=seconds(timeout, 0.0),
        detach=detach,
    )


def check_terminal(terminal: TerminalOptions, *, detach: bool, needed_when_detached: bool) -> None:
    """Refuse `-t` without a terminal on standard input. `-i` with `-d` keeps the command's input open for `attach`."""
    if terminal.tty and (needed_when_detached or not detach) and not sys.stdin.isatty():
        raise NotATerminalError


def process_environment(
    options: EnvironmentOptions, environment: Mapping[str, str], *, tty: bool
) -> tuple[tuple[str, str], ...]:
    variables, warnings = parsers.parse_environment(options.env, options.env_file, environment)
    for warning in warnings:
        warn(warning)
    if tty and "TERM" not in dict(variables):
        return (*variables, ("TERM", DEFAULT_TERM))
    return variables


def seconds(word: str | None, default: float) -> float:
    return default if word is None else parsers.parse_duration(word)
