"""The options that every command takes."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, ClassVar

import typer

from engine.values import dataclass

SECTION = "Global options"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """Options that every command takes, before its name or after it."""

    section: ClassVar[str] = SECTION

    debug: Annotated[bool, typer.Option("--debug", help="Show what happens inside.")] = False
    json: Annotated[
        bool,
        typer.Option("--json", help="Print errors and results as JSON."),
    ] = False
    home: Annotated[
        str | None,
        typer.Option(
            "--home",
            metavar="PATH",
            help="Where everything is kept. [default: $BOXLITE_HOME or ~/.boxlite]",
        ),
    ] = None
    registry: Annotated[
        list[str],
        typer.Option(
            "--registry",
            metavar="HOST",
            help="Look for images with short names here first; repeatable.",
        ),
    ] = field(default_factory=list)
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Configuration, YAML or JSON. [default: $BOXLITE_CONFIG or ~/.config/boxlite/config.yaml]",
        ),
    ] = None

    def over(self, outer: GlobalOptions) -> GlobalOptions:
        """These, completed by the ones given before the command."""
        return GlobalOptions(
            debug=self.debug or outer.debug,
            json=self.json or outer.json,
            home=self.home or outer.home,
            registry=[*self.registry, *outer.registry],
            config=self.config or outer.config,
        )
