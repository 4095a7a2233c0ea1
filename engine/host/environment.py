"""Settings from environment variables. Nothing else in the engine looks at the environment."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from engine.errors import ConfigError, InvalidArgumentError
from engine.model import Accel, SecurityOptions
from engine.values import dataclass

DEFAULT_HOME_NAME = ".boxlite"
DEFAULT_MAX_LAYER_BYTES = 20 * 1024**3
_FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says; None: it says nothing. `home_dir` is absolute. `proxies` has lower-case names.

    `tmp_dir` is where big temporary files go instead of the home's `tmp/`. `ca_file` holds certificate authorities to trust
    besides the host's own (SSL_CERT_FILE, as OpenSSL and curl take it).
    """

    home_dir: Path
    accel: Accel | None = None
    security: str | None = None
    tmp_dir: Path | None = None
    ca_file: str | None = None
    max_layer_decompressed_bytes: int = DEFAULT_MAX_LAYER_BYTES
    proxies: Mapping[str, str] = field(default_factory=dict)


def environment() -> Mapping[str, str]:
    """The variables themselves, for who has to look one up by a name that a file gives."""
    return os.environ


@contextlib.contextmanager
def setting_up_grpc() -> Iterator[None]:
    """While grpcio is imported: that is when it reads its settings. A value that somebody set stays.

    It shall print nothing: it shows whatever the other end sends, the text of a GOAWAY for one, as it came, and a box is at the other
    end. And it shall do nothing in a process forked from this one, which has no use for it (engine.portal.forking): the threads that it
    starts there end one such process in five by a segmentation fault (grpcio 1.85). Programs started by this one are not told of that.
    """
    import logging

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logger = logging.getLogger("grpc")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    if "grpc" in sys.modules or _FORK_SUPPORT in os.environ:
        yield
        return
    os.environ[_FORK_SUPPORT] = "0"
    try:
        yield
    finally:
        os.environ.pop(_FORK_SUPPORT, None)


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `environ` (default: of this process). An empty variable counts as unset.

    Raises ConfigError naming the variable that has an impossible value.
    """
    variables = environment() if environ is None else environ
    return Settings(
        home_dir=_absolute(variables, "BOXLITE_HOME") or _user_home(variables) / DEFAULT_HOME_NAME,
        accel=_accel(variables),
        security=_security(variables),
        tmp_dir=_absolute(variables, "BOXLITE_TMPDIR"),
        ca_file=variables.get("SSL_CERT_FILE") or None,
        max_layer_decompressed_bytes=_positive(
            variables, "BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE", DEFAULT_MAX_LAYER_BYTES
        ),
        proxies={
            name: value
            for name in PROXY_VARIABLES
            if (value := variables.get(name) or variables.get(name.upper()))
        },
    )


def _user_home(variables: Mapping[str, str]) -> Path:
    home = variables.get("HOME")
    if home and Path(home).is_absolute():
        return Path(home)
    import pwd

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ConfigError(
            "neither HOME nor the user database gives a home directory",
            hint="set BOXLITE_HOME, or give --home, an absolute path",
        ) from None


def _absolute(variables: Mapping[str, str], name: str) -> Path | None:
    value = variables.get(name)
    if not value:
        return None
    path = Path(value)
    if not path.is_absolute():
        raise ConfigError(f"{name}={value}: the path is not absolute", hint=f"set {name} to an absolute path")
    return path


def _accel(variables: Mapping[str, str]) -> Accel | None:
    value = variables.get("BOXLITE_ACCEL", "").lower()
    if value in ("", "auto"):
        return None
    try:
        return Accel(value)
    except ValueError:
        choices = ", ".join(("auto", *Accel))
        raise ConfigError(
            f"BOXLITE_ACCEL={value}: there is no such accelerator", hint=f"one of: {choices}"
        ) from None


def _security(variables: Mapping[str, str]) -> str | None:
    value = variables.get("BOXLITE_SECURITY")
    if not value:
        return None
    try:
        SecurityOptions.from_preset(value)
    except InvalidArgumentError as error:
        raise ConfigError(f"BOXLITE_SECURITY={value}: there is no such preset", hint=error.hint) from error
    return value


def _positive(variables: Mapping[str, str], name: str, default: int) -> int:
    value = variables.get(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or int(value) == 0:
        raise ConfigError(f"{name}={value}: it is not a number of bytes above 0")
    return int(value)
