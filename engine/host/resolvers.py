"""The name servers the host uses itself (resolv.conf(5))."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from engine.values import dataclass

FILES = (
    Path("/etc/resolv.conf"),
    Path("/run/systemd/resolve/resolv.conf"),
    Path("/run/NetworkManager/no-stub-resolv.conf"),
)
"""The first may name a stub on loopback; the others then have the servers behind it (systemd-resolved.service(8))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolvers:
    """`servers` are addresses, best first; `stub` says that all of them are on the host's loopback."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    stub: bool = False


def find_resolvers(files: Sequence[Path] = FILES) -> Resolvers:
    """The servers of the first file that has one which is not on loopback; else what the first file says."""
    found = [parse_resolv_conf(path.read_text(errors="replace")) for path in files if path.is_file()]
    for resolvers in found:
        if not resolvers.stub:
            search = resolvers.search or found[0].search
            return Resolvers(servers=resolvers.servers, search=search)
    return found[0] if found else Resolvers(stub=True)


def resolver_file(files: Sequence[Path] = FILES) -> str | None:
    """The file that names the servers to send a box's queries to, the one that find_resolvers takes them from; None where
    none names any."""
    named = [path for path in files if path.is_file()]
    found = {path: parse_resolv_conf(path.read_text(errors="replace")) for path in named}
    chosen = next((path for path in named if not found[path].stub), next(iter(named), None))
    return str(chosen) if chosen is not None and found[chosen].servers else None


def asked_server(file: str | None, *, ipv6: bool) -> str | None:
    """The server in a resolver file that a box's questions are sent to: the first one over IPv4; where there is none, and the box has
    IPv6, the first one over that."""
    if file is None:
        return None
    try:
        servers = parse_resolv_conf(Path(file).read_text(errors="replace")).servers
    except OSError:
        return None
    over_ipv4 = [server for server in servers if ":" not in server]
    return next(iter(over_ipv4 or servers if ipv6 else over_ipv4), None)


def parse_resolv_conf(text: str) -> Resolvers:
    """Servers that are no addresses, or that name an interface (`fe80::1%eth0`), are left out. The last `search` or
    `domain` counts."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or line[0] in "#;":
            continue
        match words[0]:
            case "nameserver" if _is_address(words[1]):
                servers.append(words[1])
            case "search" | "domain":
                search = tuple(word for word in words[1:] if word != ".")
    reachable = tuple(server for server in servers if not ipaddress.ip_address(server).is_loopback)
    return Resolvers(servers=reachable or tuple(servers), search=search, stub=not reachable)


def _is_address(word: str) -> bool:
    try:
        return getattr(ipaddress.ip_address(word), "scope_id", None) is None
    except ValueError:
        return False
