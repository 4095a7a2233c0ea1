"""`boxlite completion`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.output import write
from engine.errors import InvalidArgumentError, NotFoundError

FILES = {"bash": "boxlite.bash", "zsh": "_boxlite", "fish": "boxlite.fish"}
EXAMPLES = """
  source <(boxlite completion bash)
  boxlite completion zsh > ~/.zfunc/_boxlite
  boxlite completion fish > ~/.config/fish/completions/boxlite.fish
"""


def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish")]) -> int:
    """Print the completion script of a shell.

    It completes commands, flags, names of boxes, images and volumes, and paths inside running boxes. For bash, put the first
    example into ~/.bashrc; for zsh, the directory must be in $fpath before compinit is called.
    """
    if shell not in FILES:
        raise InvalidArgumentError(
            f"there is no completion for {shell!r}", hint=f"shells: {', '.join(FILES)}"
        )
    write(_find(FILES[shell]).read_text(encoding="utf-8"))
    return 0


def _find(name: str) -> Path:
    """Beside the package in a checkout, in it where it was installed."""
    package = Path(__file__).resolve().parents[1]
    for directory in (package / "completions", package.parent / "completions"):
        if (directory / name).is_file():
            return directory / name
    raise NotFoundError(f"this installation has no {name}", hint="install BoxLite again")


COMMAND = as_command(completion, "completion", examples=EXAMPLES)
