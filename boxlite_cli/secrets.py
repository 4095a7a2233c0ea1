"""The words of `--secret`: NAME[=VALUE],host=HOST[:PORT][,host=…][,env=VARIABLE|file=PATH|command=LINE|stdin][,placeholder=TEXT]"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import field

from boxlite_cli.failures import warn
from engine.errors import InvalidArgumentError
from engine.model import MAX_SECRET_LENGTH, SecretSource, SecretSpec
from engine.values import dataclass

_KEYS = ("host", "env", "file", "command", "placeholder", "stdin")
_SEPARATOR = re.compile(rf",(?=(?:{'|'.join(_KEYS)})(?:=|,|$))")
"""A comma before one of the keys: values, paths and commands may have others in them."""
_SOURCES = ("env", "file", "command", "stdin")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretWord:
    """One `--secret`: what of it goes on record, and the value if it was typed. `from_stdin`: it is still to be read."""

    spec: SecretSpec
    value: str | None = field(default=None, repr=False)
    from_stdin: bool = False


def parse_secret(text: str) -> SecretWord:
    """A message never quotes more than names: what is wrong may be a part of the value."""
    first, *options = _SEPARATOR.split(text)
    name, equals, value = first.partition("=")
    if not name or "," in name:
        raise InvalidArgumentError(
            "a secret is written NAME[=VALUE],host=HOST[,…]", hint="--secret API_KEY,host=api.example.com"
        )
    found: dict[str, list[str]] = {}
    for option in options:
        key, has_value, word = option.partition("=")
        if (key == "stdin") == bool(has_value) or (has_value and not word):
            raise InvalidArgumentError(
                f"secret {name}: {key} {'has no' if key == 'stdin' else 'needs a'} value"
            )
        found.setdefault(key, []).append(word)
    for key in ("placeholder", *_SOURCES):
        if len(found.get(key, ())) > 1:
            raise InvalidArgumentError(f"secret {name}: {key} is given twice")
    sources = [key for key in _SOURCES if key in found]
    if len(sources) + bool(equals) > 1:
        raise InvalidArgumentError(
            f"secret {name}: give its value once: as NAME=VALUE, with env=, file=, command=, or through stdin"
        )
    source, origin = SecretSource.GIVEN, ""
    if sources and sources[0] != "stdin":
        source, origin = SecretSource(sources[0]), found[sources[0]][0]
    elif not sources and not equals:
        source, origin = SecretSource.ENV, name
    hosts = tuple(host for word in found.get("host", ()) for host in re.split("[,;]", word) if host)
    return SecretWord(
        spec=SecretSpec(
            name=name,
            hosts=hosts,
            source=source,
            origin=_absolute(origin) if source is SecretSource.FILE else origin,
            placeholder=found.get("placeholder", [""])[0],
        ),
        value=value if equals else None,
        from_stdin=sources == ["stdin"],
    )


def given_values(words: Sequence[str], *, stdin_is_taken: bool = False) -> dict[str, str]:
    """The values that were typed or are piped in, by name. Reads standard input if one is."""
    if not words:
        return {}
    parsed = [parse_secret(word) for word in words]
    piped = [word for word in parsed if word.from_stdin]
    if len(piped) > 1 or (piped and stdin_is_taken):
        why = "is passed to the box (-i)" if stdin_is_taken else "has the value of another secret"
        raise InvalidArgumentError(f"secret {piped[-1].spec.name}: standard input {why}")
    values = {word.spec.name: word.value for word in parsed if word.value is not None}
    for name in values:
        warn(
            f"the value of secret {name} stands on the command line, where other users of this host may read it; "
            f"env=, file=, command= or stdin keep it out of sight"
        )
    return values | {word.spec.name: _read_stdin(word.spec.name) for word in piped}


def _read_stdin(name: str) -> str:
    content = sys.stdin.buffer.read(MAX_SECRET_LENGTH + 16)
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"the value of secret {name} is not UTF-8 text") from None


def _absolute(path: str) -> str:
    """The file is read again at every start, wherever that command is run."""
    from pathlib import Path

    return str(Path(path).expanduser().absolute())
