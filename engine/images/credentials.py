"""Credentials people already have: our own `login` file, podman's auth.json, Docker's config.json and its helpers.

All of these share Docker's format (docker/cli, config file; containers-auth.json(5)). A name may be keyed by registry or,
as podman does, by any leading part of its path; the most exact key wins within a file, the first file with one wins.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import process
from engine.errors import BoxliteError, MetadataError
from engine.fsutil import locked, write_atomic
from engine.host.environment import environment
from engine.images.reference import DEFAULT_REGISTRY, ImageReference
from engine.layout import Layout
from engine.model import RegistryConfig
from engine.process import Command
from engine.values import dataclass

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105  docker-credential-helpers: the secret is then an identity token
_HELPER_TIMEOUT_S = 30.0
_HELPER_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY",
                       "GNUPGHOME", "GPG_TTY", "PASSWORD_STORE_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")  # fmt: skip
_HELPER_PREFIXES = ("AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_", "DOCKER_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """How to prove who we are; `source` says where it was found. Secrets never show in its repr."""

    source: str
    username: str = ""
    password: str = ""
    identity_token: str = ""
    bearer_token: str = ""

    def __repr__(self) -> str:
        return f"Credential(source={self.source!r}, username={self.username!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The credential, if any, and what went wrong while looking (a broken helper, an unreadable file)."""

    credential: Credential | None
    troubles: tuple[str, ...] = ()


def credential_files(layout: Layout, environ: Mapping[str, str]) -> list[Path]:
    """Where credentials may lie, in the order of precedence."""
    home = environ.get("HOME", "")
    files = [layout.auth_path]
    if environ.get("REGISTRY_AUTH_FILE"):
        files.append(Path(environ["REGISTRY_AUTH_FILE"]))
    if environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    config_home = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    if config_home:
        files.append(Path(config_home) / "containers" / "auth.json")
    docker = environ.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
    if docker:
        files.append(Path(docker) / "config.json")
    return files


async def find_credential(
    reference: ImageReference,
    config: RegistryConfig,
    layout: Layout,
    *,
    environ: Mapping[str, str] | None = None,
) -> Found:
    """Look for a credential for the reference's registry: in `config`, then in the files."""
    if config.bearer_token:
        return Found(credential=Credential(source="configuration", bearer_token=config.bearer_token))
    if config.username:
        named = Credential(source="configuration", username=config.username, password=config.password or "")
        return Found(credential=named)
    environ = environment() if environ is None else environ
    troubles: list[str] = []
    for path in credential_files(layout, environ):
        try:
            credential = await _from_file(path, reference, environ)
        except (BoxliteError, OSError) as error:
            troubles.append(str(error))
            continue
        if credential is not None:
            return Found(credential=credential, troubles=tuple(troubles))
    return Found(credential=None, troubles=tuple(troubles))


def save_credential(layout: Layout, registry: str, username: str, password: str) -> None:
    """Remember a name and a password for a registry in our own file, readable by its owner alone."""
    secret = base64.b64encode(f"{username}:{password}".encode()).decode()
    with locked(layout.locks_dir / "auth.lock"):
        document = _read(layout.auth_path) or {}
        document.setdefault("auths", {})[_normal_key(registry)] = {"auth": secret}
        write_atomic(layout.auth_path, json.dumps(document, indent=2).encode() + b"\n")


def remove_credential(layout: Layout, registry: str) -> bool:
    """Forget it; False when there was none in our own file."""
    with locked(layout.locks_dir / "auth.lock"):
        document = _read(layout.auth_path) or {}
        if document.get("auths", {}).pop(_normal_key(registry), None) is None:
            return False
        write_atomic(layout.auth_path, json.dumps(document, indent=2).encode() + b"\n")
    return True


async def _from_file(path: Path, reference: ImageReference, environ: Mapping[str, str]) -> Credential | None:
    document = _read(path)
    if document is None:
        return None
    keys = _keys_for(reference)
    helpers = {_normal_key(key): value for key, value in _mapping(document.get("credHelpers")).items()}
    for key in keys:
        if isinstance(helpers.get(key), str):
            return await _from_helper(helpers[key], reference.registry, environ)
    auths = {_normal_key(key): value for key, value in _mapping(document.get("auths")).items()}
    entry = next((_mapping(auths[key]) for key in keys if key in auths), None)
    if entry and (entry.get("auth") or entry.get("identitytoken") or entry.get("username")):
        return _from_entry(entry, path)
    store = document.get("credsStore")
    if isinstance(store, str) and store:
        return await _from_helper(store, reference.registry, environ)
    return None


def _from_entry(entry: dict[str, Any], path: Path) -> Credential:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise MetadataError(f"{path} has a malformed auth entry") from error
        username, _, password = text.partition(":")
    return Credential(
        source=str(path),
        username=username,
        password=password.rstrip("\0"),
        identity_token=str(entry.get("identitytoken") or ""),
    )


async def _from_helper(suffix: str, registry: str, environ: Mapping[str, str]) -> Credential | None:
    """Ask `docker-credential-SUFFIX` (docker/docker-credential-helpers, "Development")."""
    program = f"docker-credential-{suffix}"
    if "/" in suffix:
        raise MetadataError(f"the credential helper's name {suffix!r} has a slash in it")
    server = _DOCKER_HUB_KEY if registry == DEFAULT_REGISTRY else registry
    env = {
        key: value
        for key, value in environ.items()
        if key in _HELPER_ENVIRONMENT or key.startswith(_HELPER_PREFIXES)
    }
    command = Command(argv=(program, "get"), env=env)
    done = await process.run(command, stdin=server.encode(), timeout_s=_HELPER_TIMEOUT_S, check=False)
    if done.exit_status != 0:
        answer = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        if "not found" in answer:
            return None
        raise MetadataError(f"{program} failed: {answer[:200] or done.exit_status}")
    try:
        document = _mapping(json.loads(done.stdout))
    except ValueError as error:
        raise MetadataError(f"{program} gave an answer that is not JSON") from error
    username, secret = str(document.get("Username") or ""), str(document.get("Secret") or "")
    if username == _TOKEN_USER:
        return Credential(source=program, identity_token=secret)
    return Credential(source=program, username=username, password=secret)


def _keys_for(reference: ImageReference) -> list[str]:
    """The repository's full name, then ever shorter leading parts, the registry last."""
    parts = reference.name.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _normal_key(key: str) -> str:
    """`https://index.docker.io/v1/` and the like → `docker.io`."""
    bare = key.partition("://")[2] or key
    host, slash, path = bare.partition("/")
    if path.strip("/") in ("v1", "v2"):
        slash = path = ""
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DEFAULT_REGISTRY
    return (host + slash + path).rstrip("/")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return _mapping(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise MetadataError(f"{path} is not valid JSON", hint="mend or remove it") from error


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
