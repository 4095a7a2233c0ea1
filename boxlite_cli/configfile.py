"""The configuration file: `~/.config/boxlite/config.yaml`, or the file of `--config`, YAML or JSON.

A file is checked as a whole when it is read; each complaint names the file, the line and the key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.model import Accel, RegistryConfig
from engine.values import dataclass

Scalar = str | int | float | bool
Lines = Mapping[str, int]
"""The line, from 1, of what stands at a place like `image_registries[0].host`."""

KEYS = frozenset({
    "accel", "aliases", "color", "defaults", "home_dir", "image_registries", "max_layer_decompressed_size", "security",
})  # fmt: skip
COLORS = ("auto", "always", "never")
ALIAS_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_REGISTRY_KEYS = frozenset({
    "auth", "bearer_token", "ca_file", "host", "mirrors", "password", "protocol", "search", "skip_verify",
    "transport", "username",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """What a file says; None and empty: it says nothing. `defaults` has options by command (`image ls`), without their
    dashes; `aliases` whole command lines by name."""

    path: Path | None = None
    home_dir: str | None = None
    accel: Accel | None = None
    security: str | None = None
    color: str | None = None
    max_layer_decompressed_size: str | None = None
    image_registries: tuple[RegistryConfig, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Scalar | list[Scalar]]] = field(default_factory=dict)
    lines: Lines = field(default_factory=dict)

    def place(self, key: str) -> str:
        """`FILE:LINE` of a key, for messages and `config show`."""
        line = self.lines.get(key)
        return f"{self.path}:{line}" if line else str(self.path)


@cache
def load_config(path: Path) -> ConfigFile:
    """Raises ConfigError that names the file, the line and the key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {os.strerror(error.errno or 0)}",
            hint="check what --config or BOXLITE_CONFIG names, or leave it out",
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not text in UTF-8") from error
    document, lines = _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)
    return _Reader(path, lines).config({} if document is None else document)


def _parse_json(path: Path, text: str) -> tuple[Any, Lines]:
    import json

    try:
        return json.loads(text), {}
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


def _parse_yaml(path: Path, text: str) -> tuple[Any, Lines]:
    import yaml

    loader = (yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        document = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()
    lines: dict[str, int] = {}
    if node is not None:
        _note_lines(node, "", lines)
    return document, lines


def _note_lines(node: Any, place: str, lines: dict[str, int]) -> None:
    """Where each key and each item of a list stands."""
    if node.id == "mapping":
        for key, value in node.value:
            inner = f"{place}.{key.value}" if place else str(key.value)
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines)
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            lines[f"{place}[{index}]"] = value.start_mark.line + 1
            _note_lines(value, f"{place}[{index}]", lines)


class _Reader:
    """Checks a parsed document piece by piece; each complaint says where in which file."""

    def __init__(self, path: Path, lines: Lines) -> None:
        self._path = path
        self._lines = lines

    def config(self, document: object) -> ConfigFile:
        table = self._table(document, "the document", KEYS)
        home = table.get("home_dir")
        if home is not None and not (isinstance(home, str) and Path(home).expanduser().is_absolute()):
            raise self._wrong("home_dir", "an absolute path")
        registries = table.get("image_registries", [])
        if not isinstance(registries, list):
            raise self._wrong("image_registries", "a list")
        size = table.get("max_layer_decompressed_size")
        return ConfigFile(
            path=self._path,
            home_dir=None if home is None else str(Path(home).expanduser()),
            accel=self._accel(table.get("accel")),
            security=self._text(table, "security", ""),
            color=self._choice(table, "color", COLORS),
            max_layer_decompressed_size=None if size is None else str(size),
            image_registries=tuple(
                self._registry(item, f"image_registries[{index}]") for index, item in enumerate(registries)
            ),
            aliases=self._aliases(table.get("aliases") or {}),
            defaults=self._defaults(table.get("defaults") or {}),
            lines=self._lines,
        )

    def _accel(self, value: object) -> Accel | None:
        if value in (None, "auto"):
            return None
        if value not in tuple(Accel):
            raise self._wrong("accel", "auto, kvm, hvf or tcg")
        return Accel(str(value))

    def _aliases(self, value: object) -> dict[str, str]:
        from boxlite_cli.catalog import find_entry

        table = self._table(value, "aliases", None)
        for name, line in table.items():
            where = f"aliases.{name}"
            if not ALIAS_NAME.fullmatch(name):
                raise self._wrong(where, "a name of lower-case letters, digits, - and _")
            if find_entry(name) is not None:
                raise self._wrong(where, "another name: there is a command of this one")
            if not isinstance(line, str) or not line.strip():
                raise self._wrong(where, "a command line, like `run --rm -it alpine:3.20`")
        return table

    def _defaults(self, value: object) -> dict[str, dict[str, Scalar | list[Scalar]]]:
        from boxlite_cli.catalog import find_entry

        found = {}
        for command, options in self._table(value, "defaults", None).items():
            if find_entry(command.partition(" ")[0]) is None:
                raise self._wrong(f"defaults.{command}", "named after a command, like run or `image ls`")
            table = self._table(options, f"defaults.{command}", None)
            for name, setting in table.items():
                items = setting if isinstance(setting, list) else [setting]
                if not all(isinstance(item, str | int | float | bool) for item in items):
                    raise self._wrong(f"defaults.{command}.{name}", "a value, or a list of values")
            found[command] = {name.lstrip("-"): setting for name, setting in table.items()}
        return found

    def _registry(self, item: object, where: str) -> RegistryConfig:
        table = self._table(item, where, _REGISTRY_KEYS)
        auth = self._auth(table.get("auth", {"type": "anonymous"}), f"{where}.auth")
        transport = table.get("transport", table.get("protocol"))
        if transport not in ("https", "http", None):
            raise self._wrong(f"{where}.transport", '"https" or "http"')
        mirrors = table.get("mirrors", [])
        if not isinstance(mirrors, list) or not all(isinstance(mirror, str) for mirror in mirrors):
            raise self._wrong(f"{where}.mirrors", "a list of hosts")
        host = self._text(table, "host", where)
        if not host or "://" in host:
            raise self._wrong(f"{where}.host", "a host without a scheme")
        config = RegistryConfig(
            host=host,
            transport=transport,
            skip_verify=self._flag(table, "skip_verify", where),
            search=self._flag(table, "search", where),
            ca_file=self._text(table, "ca_file", where),
            username=self._text(table, "username", where) or auth.get("username"),
            password=self._text(table, "password", where) or auth.get("password"),
            bearer_token=self._text(table, "bearer_token", where) or auth.get("token"),
            mirrors=tuple(mirrors),
        )
        if (config.username is None) != (config.password is None):
            raise self._wrong(where, "given username and password together")
        return config

    def _auth(self, auth: object, where: str) -> dict[str, Any]:
        table = self._table(auth, where, frozenset({"type", "username", "password", "token", "bearer_token"}))
        wanted = {"anonymous": (), "basic": ("username", "password"), "bearer": ("token",)}
        if "bearer_token" in table:
            table = {**table, "token": table["bearer_token"]}
        kind = table.get("type", "anonymous")
        if kind not in wanted:
            raise self._wrong(f"{where}.type", "anonymous, basic or bearer")
        for key in wanted[kind]:
            if not self._text(table, key, where):
                raise self._wrong(f"{where}.{key}", "given")
        return {key: table[key] for key in wanted[kind]}

    def _table(self, value: object, where: str, keys: frozenset[str] | None) -> dict[str, Any]:
        """A mapping with names as keys; `keys` None: with any."""
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self._wrong(where, "an object")
        unknown = [] if keys is None else [key for key in value if key not in keys]
        if keys is not None and unknown:
            from difflib import get_close_matches

            inner = unknown[0] if where == "the document" else f"{where}.{unknown[0]}"
            near = get_close_matches(unknown[0], keys, n=1)
            raise ConfigError(
                f"{self._place(inner)}: {where} has an unknown key {unknown[0]!r}",
                hint=f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(keys))}",
            )
        return value

    def _choice(self, table: dict[str, Any], key: str, words: tuple[str, ...]) -> str | None:
        value = table.get(key)
        if value is not None and value not in words:
            raise self._wrong(key, ", ".join(words[:-1]) + f" or {words[-1]}")
        return value

    def _text(self, table: dict[str, Any], key: str, where: str) -> str | None:
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(f"{where}.{key}" if where else key, "a string")
        return value

    def _flag(self, table: dict[str, Any], key: str, where: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(f"{where}.{key}", "true or false")
        return value

    def _wrong(self, where: str, wanted: str) -> ConfigError:
        return ConfigError(f"{self._place(where)}: {where} must be {wanted}")

    def _place(self, where: str) -> str:
        line = self._lines.get(where)
        return f"{self._path}:{line}" if line else str(self._path)
