"""Which proxy leads to a registry, as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say.

NO_PROXY is read as Go reads it (golang.org/x/net/http/httpproxy), and thus docker and podman, but for loopback, which is no
exception by itself.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from engine.errors import ConfigError
from engine.values import dataclass

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """`authorization` is what it gets as Proxy-Authorization; empty for nothing."""

    scheme: str
    host: str
    port: int
    authorization: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What it is told with each request to it."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    @property
    def address(self) -> str:
        """For messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def find_proxy(variables: Mapping[str, str], scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy for `scheme://host:port`; None where it is asked directly. `variables` have lower-case names.

    Raises ConfigError for a proxy that is none.
    """
    url = variables.get(f"{scheme}_proxy") or variables.get("all_proxy")
    if not url or goes_direct(variables.get("no_proxy", ""), host, port):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError
        proxy_port = parts.port or _PORTS[parts.scheme]
    except ValueError as error:
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise ConfigError(
            f"the proxy {shown!r} of the environment is no address of an http or https proxy",
            hint=f"{scheme.upper()}_PROXY has the form http://USER:PASSWORD@HOST:PORT",
        ) from error
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    return Proxy(scheme=parts.scheme, host=parts.hostname or "", port=proxy_port, authorization=authorization)


def goes_direct(no_proxy: str, host: str, port: int) -> bool:
    """Does NO_PROXY name `host:port`? Entries are names (with what is below them, `.name` without the name itself),
    addresses, networks, each but a network perhaps with a port, or `*`."""
    host = host.rstrip(".").lower()
    address = _address(host)
    return any(
        _names(entry.strip().lower(), host, address, port)
        for entry in no_proxy.replace(" ", ",").split(",")
        if entry.strip()
    )


def _names(
    entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, entry_port = _split_port(entry)
    if entry_port and entry_port != str(port):
        return False
    wanted = _address(name)
    if wanted is not None:
        return address == wanted
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        inside, _, rest = entry[1:].partition("]")
        return inside, rest.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
