"""Secrets: keys that a box uses without ever having them.

What is on record is a `SecretSpec`: names, hosts, and where the value comes from. The value itself only ever travels
in memory, as a `Secret`.
"""

from __future__ import annotations

import re
from dataclasses import field
from enum import StrEnum

from engine.errors import InvalidArgumentError
from engine.values import dataclass

SECRET_PORT = 443
"""Where a host without a port of its own is meant."""
SECRET_ENV_PREFIX = "BOXLITE_SECRET_"  # noqa: S105  a variable's name
MIN_SECRET_LENGTH = 4
"""A shorter value would be found, and taken out, in answers that have nothing to do with it."""
MAX_SECRET_LENGTH = 16 * 1024

# Compiled when they are needed: most boxes have no secrets.
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"(?:\*\.(?={_LABEL}\.))?{_LABEL}(?:\.{_LABEL})*"
_ADDRESS = r"[0-9.]+|.*:.*|\[.*\]"
_PLACEHOLDER = r"[!-$&-~]{8,256}"
_FORBIDDEN_IN_VALUE = r"[\x00-\x1f\x7f]|^\s|\s$"


class SecretSource(StrEnum):
    """Where the value comes from each time a box starts."""

    GIVEN = "given"
    """Typed, piped or handed over by a program: kept by nobody."""
    ENV = "env"
    FILE = "file"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSpec:
    """All of a secret but its value. `hosts` are names, exact or `*.domain` (one level), each with an optional port
    (443). `origin` is the variable, path or command of `source`. `placeholder` empty: the usual one.

    Raises InvalidArgumentError that names what is wrong.
    """

    name: str
    hosts: tuple[str, ...]
    source: SecretSource = SecretSource.GIVEN
    origin: str = ""
    placeholder: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(_NAME, self.name):
            raise InvalidArgumentError(
                f"secret name {self.name!r} is not made of letters, digits and _, with no digit first"
            )
        if not self.hosts:
            raise InvalidArgumentError(
                f"secret {self.name} names no host that it may be sent to",
                hint=f"give one or more: --secret {self.name},host=api.example.com",
            )
        object.__setattr__(self, "hosts", tuple(_checked_host(self.name, host) for host in self.hosts))
        if self.placeholder and not re.fullmatch(_PLACEHOLDER, self.placeholder):
            raise InvalidArgumentError(
                f"secret {self.name}: a placeholder has 8 to 256 printable ASCII characters, no space and no %"
            )

    @property
    def token(self) -> str:
        """What the box sees in place of the value."""
        return self.placeholder or f"<BOXLITE_SECRET:{self.name}>"

    @property
    def variable(self) -> str:
        """The environment variable in the box that holds the token."""
        return SECRET_ENV_PREFIX + self.name.upper()

    @property
    def targets(self) -> tuple[tuple[str, int], ...]:
        """Hosts, which may begin with `*.`, and ports."""
        return tuple(_split_host(host) for host in self.hosts)

    def covers(self, host: str, port: int) -> bool:
        """May the value be sent to this host? `host` is in lower case, without a trailing dot."""
        _, _, parent = host.partition(".")
        return any(
            port == wanted_port and name in (host, f"*.{parent}") for name, wanted_port in self.targets
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret with its value, which no representation shows. Raises InvalidArgumentError for a value that no header
    could carry; the message does not have it."""

    spec: SecretSpec
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        why = None
        if len(self.value) < MIN_SECRET_LENGTH:
            why = f"is shorter than {MIN_SECRET_LENGTH} characters"
        elif len(self.value.encode()) > MAX_SECRET_LENGTH:
            why = f"is longer than {MAX_SECRET_LENGTH // 1024} KiB"
        elif re.search(_FORBIDDEN_IN_VALUE, self.value):
            why = "has control characters, or space around it, which no HTTP header can carry"
        elif self.spec.token in self.value:
            why = "contains its own placeholder"
        if why is not None:
            raise InvalidArgumentError(f"the value of secret {self.spec.name} {why}")


def check_distinct(specs: tuple[SecretSpec, ...]) -> None:
    """Raises InvalidArgumentError for two secrets that a box could not tell apart."""
    for attribute, what in (("variable", "name"), ("token", "placeholder")):
        seen: set[str] = set()
        for spec in specs:
            word = getattr(spec, attribute)
            if word in seen:
                raise InvalidArgumentError(f"secret {spec.name}: another secret has the same {what}")
            seen.add(word)


def _checked_host(name: str, rule: str) -> str:
    host, _, port = rule.strip().rpartition(":") if re.search(r":\d+$", rule) else (rule.strip(), "", "")
    host = host.removesuffix(".")
    if not host.isascii():
        host = _ascii_host(host)
    if re.fullmatch(_ADDRESS, host):
        raise InvalidArgumentError(
            f"secret {name}: {rule!r} is an address; only a host's name can be checked against its certificate"
        )
    if not re.fullmatch(_HOST, host) or len(host) > 253 or (port and not 1 <= int(port) <= 65535):
        raise InvalidArgumentError(
            f"secret {name}: host {rule!r} is not a name like api.example.com or *.example.com, with an optional :port"
        )
    return f"{host.lower()}:{int(port)}" if port and int(port) != SECRET_PORT else host.lower()


def _ascii_host(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _split_host(rule: str) -> tuple[str, int]:
    host, colon, port = rule.partition(":")
    return host, int(port) if colon else SECRET_PORT
