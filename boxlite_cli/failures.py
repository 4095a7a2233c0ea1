"""How a command that failed says so: on stderr, with the cause, what to do, and where the log is.

    Error: box web: no such image: alpine:3.200
    Hint: …
    Log: /home/me/.boxlite/boxes/…/logs/console.log

Exit status: 2 for a command line that is wrong; for run, exec and create 125 for a failure of ours, 126 and 127 for a
command that cannot be run; 1 for anything else; 130 after Ctrl-C and 141 when nobody reads our output any more.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import ClassVar

from engine.errors import BoxliteError
from engine.shown import printable_lines

USAGE_STATUS = 2
INTERRUPTED_STATUS = 128 + signal.SIGINT
BROKEN_PIPE_STATUS = 128 + signal.SIGPIPE


class NotATerminalError(BoxliteError):
    """`-t` without a terminal to give."""

    code = "not_a_terminal"
    keeps_status: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(
            "the input device is not a TTY.", hint="leave out -t when the input is a pipe or a file"
        )


class TerminatedBySignal(BaseException):
    """A signal asked this process to end; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def status_of(error: BaseException, failure_status: int = 1) -> int:
    """What to exit with; `failure_status` is the command's own for failures that have no better one."""
    match error:
        case NotATerminalError():
            return 1
        case BoxliteError():
            return failure_status if error.exit_status == 1 else error.exit_status
        case BrokenPipeError():
            return BROKEN_PIPE_STATUS
        case KeyboardInterrupt():
            return INTERRUPTED_STATUS
        case TerminatedBySignal():
            return 128 + error.signum
    return failure_status


def sole_error(error: BaseException) -> BaseException:
    """The one that counts of a group of errors from concurrent tasks: the first that is not a mere broken pipe."""
    while isinstance(error, BaseExceptionGroup):
        error = next((e for e in error.exceptions if not isinstance(e, BrokenPipeError)), error.exceptions[0])
    return error


def say(text: str) -> None:
    """A message to stderr, in which no stranger's name moves the cursor; a stderr that nobody reads is no reason to fail."""
    try:
        sys.stderr.write(f"{printable_lines(text)}\n")
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        _discard(sys.stderr.fileno() if not sys.stderr.closed else 2)


def warn(text: str) -> None:
    say(f"Warning: {text}")


def report(error: BoxliteError, *, debug: bool = False, as_json: bool = False) -> None:
    """Show an error of the engine: lines for people, or one JSON object in a line."""
    message = str(error)
    if as_json:
        say_json(
            code=error.code,
            message=message,
            hint=error.hint,
            retryable=error.retryable,
            box=error.box,
            operation=error.operation,
            cause=_cause_text(error.__cause__) or None,
            log=error.log_path,
        )
        return
    say(f"Error: {message}")
    cause = _cause_text(error.__cause__)
    if cause and cause not in message:
        say(f"Cause: {cause}")
    if error.hint:
        say(f"Hint: {error.hint}")
    if error.log_path:
        say(f"Log: {error.log_path}")
    if debug:
        say("".join(traceback.format_exception(error)).rstrip())


def say_json(
    *, code: str, message: str, hint: str | None = None, retryable: bool = False, **more: str | None
) -> None:
    """One error for programs. `code` is stable; `retryable`: the same call may work later."""
    import json

    document = {"code": code, "message": message, "hint": hint, "retryable": retryable, **more}
    say(json.dumps({"error": document}, ensure_ascii=False))


def _cause_text(cause: BaseException | None) -> str:
    """The foreign error behind one of ours, in a line."""
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if cause is None or isinstance(cause, BoxliteError):
        return ""
    text = str(cause)
    return "" if "\n" in text else text  # a library's dump of its state explains nothing


def report_usage(message: str, *, hint: str, as_json: bool = False) -> None:
    if as_json:
        say_json(code="invalid_argument", message=message, hint=hint)
        return
    say(f"Error: {message}")
    say(f"Hint: {hint}")


def report_unexpected(error: BaseException, log_path: Path, *, debug: bool, as_json: bool = False) -> None:
    """Show an error that nobody foresaw: one line, and the traceback in the log."""
    text = "".join(traceback.format_exception(error))
    if as_json:
        log = str(log_path) if _append(log_path, text) else None
        say_json(code="internal", message=f"internal error: {type(error).__name__}: {error}", log=log)
        return
    say(f"Error: internal error: {type(error).__name__}: {error}".rstrip(": "))
    if debug:
        say(text.rstrip())
    if _append(log_path, text):
        say(f"Log: {log_path}")
    elif not debug:
        say("Hint: run it again with --debug to see where it happened")


def _append(log_path: Path, text: str) -> bool:
    """Add a traceback to the log of the home; a home that does not exist is not made for it."""
    from datetime import UTC, datetime

    try:
        with log_path.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}")
    except OSError:
        return False
    return True


def flush_output() -> int:
    """Write out what stdout still holds. 0, or the status to exit with when that is not possible."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
    except OSError as error:
        say(f"Error: standard output cannot be written: {error.strerror}")
        _discard(sys.stdout.fileno())
        return 1
    return 0


def _discard(fd: int) -> None:
    """Let the interpreter's own flush at exit go nowhere rather than fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)
