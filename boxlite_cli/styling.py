"""Where there is colour, and where something may be drawn over: decided here for every command.

`NO_COLOR` (no-color.org), `CLICOLOR` and `CLICOLOR_FORCE` (bixense.com/clicolors), `TERM=dumb`, then `color` of the
configuration file; where none says anything, colour is for terminals.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

BOLD, RESET = "\x1b[1m", "\x1b[0m"
WORDS = {"running": "32", "ok": "32", "failed": "31", "warning": "33", "paused": "33", "unhealthy": "31"}
"""Words that have a colour as the first of a cell (ECMA-48 SGR)."""
RICH_NAMES = {"31": "red", "32": "green", "33": "yellow"}


def may_draw(stream: IO[Any], environment: Mapping[str, str] = os.environ) -> bool:
    """May lines on the stream be drawn over? Only on a terminal that can."""
    return stream.isatty() and environment.get("TERM", "") not in ("dumb", "unknown")


def wants_color(stream: IO[Any], environment: Mapping[str, str] = os.environ) -> bool:
    """Is the stream to be coloured?"""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    if environment.get("CLICOLOR") == "0" or environment.get("TERM") == "dumb":
        return False
    match _configured(environment):
        case "always":
            return True
        case "never":
            return False
    return stream.isatty()


def _configured(environment: Mapping[str, str]) -> str:
    """What the configuration file says; a broken one is complained about by the command itself."""
    from boxlite_cli.settings import read_config
    from engine.errors import ConfigError

    try:
        file = read_config(None, environment)
    except ConfigError:
        return "auto"
    return (file.color if file else None) or "auto"


def code_of(cell: str) -> str:
    """The colour of a cell as an SGR parameter, empty for none."""
    return WORDS.get(cell.partition(" ")[0], "")


def console(*, stderr: bool = False) -> Console:
    """A rich console that follows the same rules."""
    import sys

    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    color = wants_color(stream)
    return Console(stderr=stderr, highlight=False, no_color=not color, force_terminal=True if color else None)
