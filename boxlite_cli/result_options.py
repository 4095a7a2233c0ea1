"""`--format` of commands that do something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from boxlite_cli.results import Results, open_results
from engine.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """`--format` of a command that does something."""

    format_: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="json, yaml or a template. [default: the plain lines]"
        ),
    ] = None

    def open(self) -> Results:
        """Raises InvalidArgumentError for a format that is none: before anything is done."""
        return open_results(self.format_)

    def refuse_unless(self, has_result: bool, *, meant_for: str, as_json: bool) -> None:
        """Refuse `--format` where the output is that of a command in the box. `--json`, which also asks for errors, may
        stand anywhere."""
        if self.format_ and not has_result and not as_json:
            raise InvalidArgumentError(
                f"--format is for {meant_for}: else the output is the command's own",
                hint="leave --format out",
            )
