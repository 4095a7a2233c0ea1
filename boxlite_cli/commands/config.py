"""`boxlite config`: what is set, where, and which file says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command, as_group, given_globals
from boxlite_cli.output import Format
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.settings import CONFIG_VARIABLE, Found, config_path, find_values, user_config_path
from engine.errors import ConfigError, InvalidArgumentError
from engine.model import RegistryConfig

SECRET_FIELDS = ("password", "bearer_token")
EXAMPLES = """
  boxlite config show
  boxlite config show --origin
  boxlite config show accel
"""


def show(
    ctx: typer.Context,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]")] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value comes from.")] = False,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="table, json or yaml. [default: table]"),
    ] = None,
) -> int:
    """Show every setting as it is in force.

    Options beat the environment, which beats the file, which beats what is built in; `boxlite help config` has the table.
    Passwords and tokens are not shown. With KEY: only its value.
    """
    kind, _ = output.parse_format(format_, (Format.TABLE, Format.JSON, Format.YAML), default=Format.TABLE)
    values = {
        name: Found(_plain(found.value), found.origin)
        for name, found in _shown(find_values(given_globals(ctx)))
    }
    if key is not None and key not in values:
        near = [name for name in values if key in name]
        raise InvalidArgumentError(
            f"there is no setting {key!r}", hint=f"settings: {', '.join(near or values)}"
        )
    if key is not None:
        values = {key: values[key]}
    if kind is not Format.TABLE:
        output.print_document(kind, [_document(name, found) for name, found in values.items()])
    elif key is not None and not origin:
        output.print_lines([_text(values[key].value)])
    else:
        headings = ("KEY", "VALUE", "ORIGIN") if origin else ("KEY", "VALUE")
        rows = [(name, _text(found.value), found.origin)[: len(headings)] for name, found in values.items()]
        output.print_table(headings, rows)
    return 0


def _shown(values: Mapping[str, Found]) -> Iterator[tuple[str, Found]]:
    """Settings one by one; of defaults each option by itself, with its own place in the file."""
    for name, found in values.items():
        default = {"home_dir": "~/.boxlite", "accel": "auto", "max_layer_decompressed_size": "20g"}.get(name)
        if name in ("aliases", "defaults") and found.value:
            yield from _inner(name, found)
        else:
            yield name, found if found.value is not None else Found(default, found.origin)


def _inner(name: str, found: Found) -> Iterator[tuple[str, Found]]:
    from boxlite_cli.settings import read_config

    path, _, _ = found.origin.rpartition(":")
    file = read_config(path or found.origin)
    for key, value in found.value.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for option, setting in inner:
            full = ".".join(filter(None, (name, key, option)))
            yield full, Found(setting, file.place(full) if file else found.origin)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, RegistryConfig):
        named = {item.name: getattr(value, item.name) for item in fields(value)}
        return {
            name: "***" if name in SECRET_FIELDS else list(setting) if isinstance(setting, tuple) else setting
            for name, setting in named.items()
            if setting
        }
    return value


def _document(name: str, found: Found) -> dict[str, Any]:
    return {"Key": name, "Value": found.value, "Origin": found.origin}


def _text(value: Any) -> str:
    if value in (None, [], {}):
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def path(ctx: typer.Context, result: ResultOptions) -> int:
    """Print the path of the configuration file.

    That of --config or $BOXLITE_CONFIG, or the user's own, whether it is there or not.
    """
    found = config_path(given_globals(ctx).config) or user_config_path()
    if found is None:
        raise ConfigError(
            "there is no home directory for a configuration file", hint=f"set {CONFIG_VARIABLE}"
        )
    result.open().print_one([str(found)], {"Path": str(found), "Exists": found.exists()})
    return 0


PATH_EXAMPLES = """
  boxlite config path
  ${EDITOR:-vi} "$(boxlite config path)"
  BOXLITE_CONFIG=./boxlite.yaml boxlite config path
"""

COMMAND = as_group(
    "config",
    "Show settings and where they come from",
    {
        "show": as_command(show, "show", examples=EXAMPLES),
        "path": as_command(path, "path", examples=PATH_EXAMPLES),
    },
)
