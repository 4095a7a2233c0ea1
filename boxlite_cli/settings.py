"""The global options, the environment and the configuration file, made into what a runtime is opened with.

Precedence, the strongest first: an option after the command, the same option before it, the environment, the
configuration file, what is built in. `--registry` hosts are put before those of the file. `SETTINGS` is the table that
`boxlite config show`, `boxlite help config` and the manual are made from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import ConfigError, InvalidArgumentError
from engine.model import Accel, RegistryConfig, RuntimeConfig
from engine.progress import Progress, ProgressSink, ignore_progress
from engine.values import dataclass

if TYPE_CHECKING:
    from boxlite_cli.configfile import ConfigFile
    from boxlite_cli.global_options import GlobalOptions
    from engine.runtime import Runtime

CONFIG_VARIABLE = "BOXLITE_CONFIG"


class Setting(NamedTuple):
    """One thing that can be set. `key` is its name in the file, empty where a file cannot say it."""

    key: str
    option: str
    variable: str
    default: str
    help: str


SETTINGS = (
    Setting("home_dir", "--home PATH", "BOXLITE_HOME", "~/.boxlite", "where everything is kept"),
    Setting("image_registries", "--registry HOST", "", "Docker Hub", "registries, and which of them are searched for short names"),
    Setting("accel", "", "BOXLITE_ACCEL", "auto", "auto, kvm, hvf or tcg"),
    Setting("security", "--security PRESET", "BOXLITE_SECURITY", "enabled", "walls around new boxes"),
    Setting("max_layer_decompressed_size", "", "BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE", "20g", "largest layer that is unpacked"),
    Setting("color", "", "NO_COLOR, CLICOLOR, CLICOLOR_FORCE", "auto", "auto, always or never"),
    Setting("aliases", "", "", "", "command lines by a name of your own"),
    Setting("defaults", "", "", "", "options that a command has unless it is told otherwise"),
    Setting("", "--config FILE", CONFIG_VARIABLE, "~/.config/boxlite/config.yaml", "the file itself; XDG_CONFIG_HOME moves it"),
    Setting("", "", "BOXLITE_TMPDIR", "tmp in the home", "directory for big temporary files"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a command needs to open a runtime. `home` None: the engine's default."""

    home: Path | None = None
    config: RuntimeConfig = field(default_factory=RuntimeConfig)
    debug: bool = False
    json: bool = False

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


class Found(NamedTuple):
    """The value of a setting and where it comes from: `default`, `--home`, `BOXLITE_HOME` or `FILE:LINE`."""

    value: Any
    origin: str


def config_path(given: str | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file to read: the one asked for, which must be there, or the user's own if it is there."""
    chosen = given or environment.get(CONFIG_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    path = user_config_path(environment)
    return path if path is not None and path.exists() else None


def user_config_path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the user's own file is, or would be. None for somebody without a home directory."""
    base = environment.get("XDG_CONFIG_HOME") or (
        f"{environment['HOME']}/.config" if environment.get("HOME") else ""
    )
    return Path(base) / "boxlite" / "config.yaml" if base.startswith("/") else None


def read_config(given: str | None, environment: Mapping[str, str] = os.environ) -> ConfigFile | None:
    """Raises ConfigError when there is a file and it is wrong."""
    path = config_path(given, environment)
    if path is None:
        return None
    from boxlite_cli.configfile import load_config

    return load_config(path)


def find_values(options: GlobalOptions, environment: Mapping[str, str] = os.environ) -> dict[str, Found]:
    """Every setting that has a key, with its origin. Raises ConfigError when file or environment are wrong."""
    file = read_config(options.config, environment)

    def choose(key: str, option: str, given: Any, variable: str, default: Any) -> Found:
        if given:
            return Found(given, option)
        if variable and environment.get(variable):
            return Found(environment[variable], variable)
        if file is not None and getattr(file, key):
            return Found(getattr(file, key), file.place(key))
        return Found(default, "default")

    of_file = file.image_registries if file else ()
    registries = _searched_first(options.registry, of_file)
    return {
        "home_dir": choose("home_dir", "--home", options.home, "BOXLITE_HOME", None),
        "image_registries": Found(
            registries + tuple(entry for entry in of_file if entry.host not in options.registry),
            "--registry" if registries else file.place("image_registries") if file and of_file else "default",
        ),
        "accel": choose("accel", "", None, "BOXLITE_ACCEL", None),
        "security": choose("security", "", None, "BOXLITE_SECURITY", "enabled"),
        "max_layer_decompressed_size": choose(
            "max_layer_decompressed_size", "", None, "BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE", None
        ),
        "color": choose("color", "", None, "", "auto"),
        "aliases": choose("aliases", "", None, "", {}),
        "defaults": choose("defaults", "", None, "", {}),
    }


def _searched_first(hosts: Sequence[str], of_file: Sequence[RegistryConfig]) -> tuple[RegistryConfig, ...]:
    """The registries of `--registry`: as the file has them, or else as any host is reached that nothing is said about."""
    if not hosts:
        return ()
    from dataclasses import replace

    from engine.images.endpoints import is_loopback

    known = {entry.host: entry for entry in of_file}
    return tuple(
        replace(known[host], search=True)
        if host in known
        else RegistryConfig(host=host, search=True, transport="http" if is_loopback(host) else "https")
        for host in hosts
    )


def resolve_settings(options: GlobalOptions, environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises ConfigError when the file or a variable of the environment is wrong."""
    values = find_values(options, environment)
    home, limit = values["home_dir"].value, values["max_layer_decompressed_size"]
    config = RuntimeConfig(
        home_dir=str(Path(home).expanduser().absolute()) if home else None,
        image_registries=values["image_registries"].value,
        accel=_accel(values["accel"].value),
    )
    if limit.value:
        from dataclasses import replace

        config = replace(config, max_layer_decompressed_bytes=_size(limit))
    return Settings(
        home=Path(config.home_dir) if config.home_dir else None,
        config=config,
        debug=options.debug,
        json=options.json,
    )


def _size(limit: Found) -> int:
    from boxlite_cli.parsers import parse_size

    try:
        return parse_size(limit.value)
    except InvalidArgumentError as error:
        raise ConfigError(f"{limit.origin}: {error.message}") from None


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
