"""Options that the configuration file gives a command: `defaults: {run: {memory: 1g, init: true}}`.

They take the place of what is built in, so an option on the command line wins, `--init=false` too, and so does a
variable of the environment that sets the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError

if TYPE_CHECKING:
    from boxlite_cli.configfile import ConfigFile

ENVIRONMENT = {"security": "BOXLITE_SECURITY"}
"""Options that a variable sets, which is stronger than the file."""


def option_defaults(
    command: str, params: Sequence[Any], file: ConfigFile, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What the file says for `command` (`run`, `image ls`), by the parser's names. Raises ConfigError for an option that
    the command does not have, or a value it cannot have."""
    options = {name.lstrip("-"): param for param in params for name in param.opts if name.startswith("-")}
    given = dict(file.defaults.get(command, {}))
    if file.security and "security" in options:
        given.setdefault("security", file.security)
    found: dict[str, Any] = {}
    for name, value in given.items():
        param = options.get(name)
        if param is None or param.name in ("home", "config"):
            raise _unknown(command, name, options, file)
        if not environment.get(ENVIRONMENT.get(name, "")):
            found[param.name] = _fitting(command, name, param, value, file)
    return found


def _fitting(command: str, name: str, param: Any, value: Any, file: ConfigFile) -> Any:
    place = f"{file.place(f'defaults.{command}.{name}')}: defaults.{command}.{name}"
    if param.is_flag:
        if not isinstance(value, bool):
            raise ConfigError(f"{place} must be true or false")
        return value
    if isinstance(value, bool):
        raise ConfigError(f"{place} must be a value, not {str(value).lower()}")
    if param.multiple:
        return [str(item) for item in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):
        raise ConfigError(f"{place} must be one value: the option cannot be repeated")
    return str(value)


def _unknown(command: str, name: str, options: Mapping[str, Any], file: ConfigFile) -> ConfigError:
    from difflib import get_close_matches

    near = get_close_matches(name, options, n=1)
    return ConfigError(
        f"{file.place(f'defaults.{command}.{name}')}: `boxlite {command}` has no option --{name} that can be set here",
        hint=f"did you mean {near[0]}?" if near else f"see 'boxlite {command} --help'",
    )


def expand_alias(words: Sequence[str], aliases: Mapping[str, str]) -> list[str] | None:
    """The words that an alias in front of them stands for; None when there is none."""
    if not words or words[0] not in aliases:
        return None
    import shlex

    try:
        return [*shlex.split(aliases[words[0]]), *words[1:]]
    except ValueError as error:
        raise ConfigError(f"alias {words[0]} is not a command line: {error}") from error
