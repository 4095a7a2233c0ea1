"""The rules of `--allow-net` and `--deny-net`: a host, `*.domain`, an address or a range, each with an optional port."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from engine.errors import InvalidArgumentError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME_PATTERN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
_MAX_NAME = 253
_NUMERIC = re.compile(r"[0-9.]+|0x[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: of a `name` (lower case, ASCII) or of a `network`, never both. `port` None: every port.

    `wildcard`: subdomains of the name at any depth, not the name itself; with `one_level` only the next one.
    `text` is what the user typed.
    """

    text: str
    name: str | None = None
    wildcard: bool = False
    one_level: bool = False
    network: Network | None = None
    port: int | None = None

    def covers_port(self, port: int | None) -> bool:
        """`port` None stands for what has no ports: only a rule without one covers it."""
        return self.port is None or self.port == port

    def covers_name(self, name: str) -> bool:
        if self.name is None:
            return False
        if not self.wildcard:
            return name == self.name
        prefix = name.removesuffix(f".{self.name}")
        return prefix not in ("", name) and not (self.one_level and "." in prefix)

    def covers_address(self, address: Address) -> bool:
        return (
            self.network is not None and self.network.version == address.version and address in self.network
        )


def parse_rule(text: str) -> Rule:
    """A rule as it is typed. Raises InvalidArgumentError that quotes it."""
    word = text.strip()
    if not word:
        raise InvalidArgumentError("an empty network rule", hint=_FORMS)
    network = _network(word)
    if network is not None:
        return Rule(text=word, network=network)
    host, port = _split_port(word)
    network = _network(host)
    if network is not None:
        return Rule(text=word, network=network, port=port)
    wildcard = host.startswith("*.")
    name = normal_name(host[2:] if wildcard else host)
    if name is None:
        raise InvalidArgumentError(f"network rule {text!r} is neither a host nor an address", hint=_FORMS)
    return Rule(text=word, name=name, wildcard=wildcard, port=port)


_FORMS = (
    "a rule is HOST, *.DOMAIN, ADDRESS or ADDRESS/BITS, each with an optional :PORT ([ADDRESS]:PORT for IPv6)"
)


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    return tuple(parse_rule(text) for text in texts)


def normal_name(text: str) -> str | None:
    """A host name as rules, DNS and TLS compare it: lower case, ASCII (IDNA), no trailing dot. None: it is none, or it
    is an address in disguise."""
    word = text.rstrip(".").lower() if text.endswith(".") and not text.endswith("..") else text.lower()
    if not word.isascii():
        try:
            word = word.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    if not word or len(word) > _MAX_NAME or not _NAME_PATTERN.fullmatch(word):
        return None
    return None if _NUMERIC.fullmatch(word.rsplit(".", 1)[-1]) else word


def parse_ip(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(word: str) -> Network | None:
    bare = word[1:-1] if word.startswith("[") and word.endswith("]") else word
    try:
        return _unmapped(ipaddress.ip_network(bare))
    except ValueError:
        pass
    try:
        ipaddress.ip_network(bare, strict=False)
    except ValueError:
        return None
    fitting = ipaddress.ip_network(bare, strict=False)
    raise InvalidArgumentError(
        f"network rule {word!r} names an address inside its range", hint=f"write {fitting}"
    )


def _unmapped(network: Network) -> Network:
    """IPv4 addresses written as IPv6 (mapped) are those IPv4 addresses: that is how they are judged."""
    if network.version == 4 or network.prefixlen < _MAPPED.prefixlen:
        return network
    first = network.network_address
    mapped = first.ipv4_mapped if isinstance(first, ipaddress.IPv6Address) else None
    return (
        network if mapped is None else ipaddress.ip_network((mapped, network.prefixlen - _MAPPED.prefixlen))
    )


def _split_port(word: str) -> tuple[str, int | None]:
    host, colon, number = word.rpartition(":")
    if not colon or word.endswith("]"):
        return word, None
    if ":" in host and not host.startswith("["):
        return word, None  # an IPv6 address without brackets has no port
    if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 65535:
        raise InvalidArgumentError(f"network rule {word!r}: {number!r} is not a port", hint=_FORMS)
    return host, int(number)
