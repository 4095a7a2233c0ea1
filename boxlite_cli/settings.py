"""The global options, `--config` and the environment, made into what a runtime is opened with.

Precedence, the strongest first: an option after the command, the same option before it, the environment, the file
of `--config`. `--registry` hosts are put before those of the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from boxlite_cli.parsers import parse_size
from engine.errors import ConfigError
from engine.model import Accel, RegistryConfig, RuntimeConfig
from engine.progress import Progress, ProgressSink, ignore_progress

if TYPE_CHECKING:
    from engine.runtime import Runtime

SECTION = "Global options"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """Options that every command takes, before its name or after it."""

    section: ClassVar[str] = SECTION

    debug: Annotated[bool, typer.Option("--debug", help="Show what happens inside.")] = False
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
        typer.Option("--config", metavar="FILE", help="Configuration, JSON."),
    ] = None

    def over(self, outer: GlobalOptions) -> GlobalOptions:
        """These, completed by the ones given before the command."""
        return GlobalOptions(
            debug=self.debug or outer.debug,
            home=self.home or outer.home,
            registry=[*self.registry, *outer.registry],
            config=self.config or outer.config,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a command needs to open a runtime. `home` None: the engine's default."""

    home: Path | None = None
    config: RuntimeConfig = field(default_factory=RuntimeConfig)
    debug: bool = False

    def open_runtime(self, progress: ProgressSink = ignore_progress) -> Runtime:
        from engine.runtime import Runtime

        return Runtime(self.home, self.config, progress=_explained(progress) if self.debug else progress)


def _explained(progress: ProgressSink) -> ProgressSink:
    """A sink that also says what goes on inside."""
    from boxlite_cli.failures import say

    def show(step: Progress) -> None:
        if step.stage == "debug":
            say(f"Debug: {step.message}")
        else:
            progress(step)

    return show


def resolve_settings(options: GlobalOptions, environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises ConfigError when the file or a variable of the environment is wrong."""
    from_file = RuntimeConfig()
    if options.config:
        from boxlite_cli.configfile import load_config

        from_file = load_config(Path(options.config))
    home = options.home or environment.get("BOXLITE_HOME") or from_file.home_dir
    registries = tuple(RegistryConfig(host=host, search=True) for host in options.registry)
    config = replace(
        from_file,
        home_dir=str(Path(home).expanduser().absolute()) if home else None,
        image_registries=registries + from_file.image_registries,
        accel=_accel(environment.get("BOXLITE_ACCEL")) or from_file.accel,
    )
    limit = environment.get("BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE")
    if limit:
        config = replace(config, max_layer_decompressed_bytes=parse_size(limit))
    return Settings(
        home=Path(config.home_dir) if config.home_dir else None, config=config, debug=options.debug
    )


def probable_log_path(options: GlobalOptions, environment: Mapping[str, str] = os.environ) -> Path:
    """Where an unexpected error is written down, as far as options and environment tell."""
    from engine.layout import Layout

    return Layout(Path(options.home or environment.get("BOXLITE_HOME") or Path.home() / ".boxlite")).log_path


def _accel(word: str | None) -> Accel | None:
    if not word or word.lower() == "auto":
        return None
    try:
        return Accel(word.lower())
    except ValueError:
        raise ConfigError(f"BOXLITE_ACCEL is auto, kvm, hvf or tcg, not {word!r}") from None
