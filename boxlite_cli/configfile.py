"""The file of `--config`: JSON with `home_dir` and `image_registries`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.model import RegistryConfig, RuntimeConfig

_REGISTRY_KEYS = frozenset({
    "auth", "bearer_token", "ca_file", "host", "mirrors", "password", "protocol", "search", "skip_verify",
    "transport", "username",
})  # fmt: skip


def load_config(path: Path) -> RuntimeConfig:
    """Raises ConfigError that names the file and the key."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    return _Reader(path).runtime_config(document)


class _Reader:
    """Checks a parsed document piece by piece; each complaint says where in which file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def runtime_config(self, document: object) -> RuntimeConfig:
        table = self._table(document, "the document", frozenset({"home_dir", "image_registries"}))
        home = table.get("home_dir")
        if home is not None and not (isinstance(home, str) and Path(home).is_absolute()):
            raise self._wrong("home_dir", "an absolute path")
        registries = table.get("image_registries", [])
        if not isinstance(registries, list):
            raise self._wrong("image_registries", "a list")
        return RuntimeConfig(
            home_dir=home,
            image_registries=tuple(
                self._registry(item, f"image_registries[{index}]") for index, item in enumerate(registries)
            ),
        )

    def _registry(self, item: object, where: str) -> RegistryConfig:
        table = self._table(item, where, _REGISTRY_KEYS)
        auth = self._auth(table.get("auth", {"type": "anonymous"}), f"{where}.auth")
        transport = table.get("transport", table.get("protocol", "https"))
        if transport not in ("https", "http"):
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

    def _table(self, value: object, where: str, keys: frozenset[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(where, "an object")
        unknown = sorted(value.keys() - keys)
        if unknown:
            raise ConfigError(
                f"{self._path}: {where} has an unknown key {unknown[0]!r}",
                hint=f"known keys: {', '.join(sorted(keys))}",
            )
        return value

    def _text(self, table: dict[str, Any], key: str, where: str) -> str | None:
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(f"{where}.{key}", "a string")
        return value

    def _flag(self, table: dict[str, Any], key: str, where: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(f"{where}.{key}", "true or false")
        return value

    def _wrong(self, where: str, wanted: str) -> ConfigError:
        return ConfigError(f"{self._path}: {where} must be {wanted}")
