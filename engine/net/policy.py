"""What a restricted box may reach: one pure function for TCP, UDP, DNS, ping, the host alias, answers to names, and
callers of published ports.

The order of its questions is the policy:

    1. the box's own resolver, the host alias                 always there, unless host access is off or a rule denies it
    2. loopback, link-local, metadata, multicast addresses    never, whatever the rules say
    3. --deny-net                                             wins over every allowance
    4. --allow-net by address, or no --allow-net at all       the address that the box chose
    5. --allow-net by name, the hosts of secrets              TCP only: the name is read from TLS or HTTP, the gateway resolves
                                                              it, and what the box chose does not count
    6. everything else                                        refused
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from engine.net.plan import HOST_ALIAS
from engine.net.rules import Address, Rule
from guest.wire.constants import BOX_ADDRESS, BOX_PREFIX_LENGTH, DNS_ADDRESS, HOST_ADDRESS

DNS_PORT = 53

_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "100.100.100.200/32", "168.63.129.16/32",  # metadata of Alibaba Cloud and of Azure
        "::/128", "::1/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128",  # the last: metadata of AWS
    )
)  # fmt: skip
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "fc00::/7",
    )
)  # fmt: skip
"""RFC 1918, 6598, 2544 and 4193: what a name must not lead to unless a rule names the address too."""
_SUBNET = ipaddress.ip_network(f"{BOX_ADDRESS}/{BOX_PREFIX_LENGTH}", strict=False)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")


class Way(StrEnum):
    """How something is to be reached. ANSWER: an address that a name which was allowed led to."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    DNS = "dns"
    ANSWER = "answer"
    INBOUND = "inbound"


class Hello(StrEnum):
    """What the first bytes of a TCP connection said about a name."""

    UNREAD = "unread"
    NAMED = "named"
    NAMELESS = "nameless"
    ENCRYPTED = "encrypted"


class Verdict(StrEnum):
    ALLOW = "allow"
    """Go to the address the box chose."""
    ALLOW_NAME = "allow_name"
    """Resolve the name, and go to those of its addresses that are allowed as an ANSWER."""
    HOST = "host"
    """Go to the host's own loopback."""
    RESOLVE = "resolve"
    """Answer it: it is a question to a name server."""
    READ_NAME = "read_name"
    """Ask again once the first bytes are there."""
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one box. `grants`: hosts and ports that secrets open beside `allow`; they restrict nothing."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    grants: tuple[Rule, ...] = ()
    host_access: bool = True

    @property
    def is_open(self) -> bool:
        """Everything may be reached that is not denied."""
        return not self.allow

    @property
    def governs_names(self) -> bool:
        return bool(self.allow) or any(rule.name for rule in self.deny)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the box tries. `address` is what it chose (None for a DNS question); `name` what it said, normalised;
    `of_host`: the address is one of this host's own."""

    way: Way
    address: Address | None = None
    port: int | None = None
    name: str | None = None
    hello: Hello = Hello.UNREAD
    of_host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`rule` is the rule that decided, as typed with its flag; `remedy` what would allow it, empty where nothing would."""

    verdict: Verdict
    rule: str = ""
    reason: str = ""
    remedy: str = ""

    @property
    def denied(self) -> bool:
        return self.verdict is Verdict.DENY


def decide(policy: Policy, attempt: Attempt) -> Decision:
    """The policy's answer to one attempt."""
    if attempt.way is Way.INBOUND:
        return Decision(verdict=Verdict.ALLOW, rule="--publish")
    if attempt.way is Way.DNS:
        return _decide_question(policy, attempt.name or "")
    assert attempt.address is not None
    address = plain(attempt.address)
    special = None if attempt.way is Way.ANSWER else _decide_special(policy, attempt, address)
    return special or _decide_address(policy, attempt, address)


def plain(address: Address) -> Address:
    """An IPv4 address written as IPv6 (mapped) is that IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_never_reachable(address: Address) -> bool:
    """Loopback, link-local, metadata, multicast and reserved addresses, also inside the IPv6 forms that carry an IPv4
    address (mapped, compatible, 6to4, Teredo, NAT64)."""
    return any(
        one.version == network.version and one in network for one in _meanings(address) for network in _NEVER
    )


def is_private(address: Address) -> bool:
    return any(
        one.version == network.version and one in network
        for one in _meanings(address)
        for network in _PRIVATE
    )


def _meanings(address: Address) -> tuple[Address, ...]:
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    inner: list[Address] = [address]
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner += address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(inner)


def _decide_special(policy: Policy, attempt: Attempt, address: Address) -> Decision | None:
    text = str(address)
    if text == HOST_ADDRESS:
        return _decide_host(policy, attempt, address)
    transport = attempt.way in (Way.TCP, Way.UDP)
    if text == DNS_ADDRESS and transport and attempt.port == DNS_PORT:
        return Decision(verdict=Verdict.RESOLVE)
    if address.version == 4 and address in _SUBNET:
        return _deny("nothing is at this address of the box's own network")
    ruled = is_never_reachable(address) or any(
        _by_address(rules, attempt, address) for rules in (policy.allow, policy.deny)
    )
    if transport and attempt.port == DNS_PORT and policy.governs_names and not ruled:
        return Decision(verdict=Verdict.RESOLVE)  # whoever it is asked of, the same answer
    return None


def _decide_host(policy: Policy, attempt: Attempt, address: Address) -> Decision:
    if not policy.host_access:
        return _deny(
            "the host may not be reached", rule="--host-access disabled", remedy="--host-access enabled"
        )
    denied = _by_address(policy.deny, attempt, address) or _by_name(policy.deny, HOST_ALIAS, attempt.port)
    if denied is not None:
        return _denied_by(denied)
    return Decision(verdict=Verdict.HOST, rule="--host-access enabled")


def _decide_address(policy: Policy, attempt: Attempt, address: Address) -> Decision:
    if is_never_reachable(address):
        return _deny("loopback, link-local, metadata and multicast addresses are never reachable")
    if attempt.way is Way.ANSWER and address.version == 4 and address in _SUBNET:
        return _deny("a name may not lead into the box's own network")
    if attempt.of_host and not policy.host_access:
        return _deny("it is this host", rule="--host-access disabled", remedy="--host-access enabled")
    denied = _by_address(policy.deny, attempt, address)
    if denied is None and attempt.name is not None:
        denied = _by_name(policy.deny, attempt.name, attempt.port)
    if denied is not None:
        return _denied_by(denied)
    allowed = _by_address(policy.allow, attempt, address)
    if attempt.way is Way.ANSWER:
        if attempt.port is None:  # to a question: which port it will be is not known yet
            allowed = next((rule for rule in policy.allow if rule.covers_address(address)), None)
        if allowed is None and policy.allow and is_private(address):
            return _deny("a name may not lead to a private address", remedy=f"--allow-net {address}")
        return Decision(verdict=Verdict.ALLOW, rule=_flag("--allow-net", allowed))
    if allowed is not None or policy.is_open:
        return _decide_chosen(policy, attempt, allowed)
    if attempt.way is Way.TCP:
        return _decide_name(policy, attempt, address)
    return _deny(
        "no --allow-net rule covers the address"
        + (", and rules by name are for TCP" if any(rule.name for rule in policy.allow) else ""),
        remedy=f"--allow-net {_with_port(str(address), attempt.port)}",
    )


def _decide_chosen(policy: Policy, attempt: Attempt, allowed: Rule | None) -> Decision:
    """The address is allowed; only a name that is denied may still stand in the way, and the host of a secret is reached by
    its name."""
    if attempt.way is Way.TCP and any(rule.covers_port(attempt.port) for rule in policy.grants):
        if attempt.hello is Hello.UNREAD:
            return Decision(verdict=Verdict.READ_NAME)
        granted = attempt.name and _by_name(policy.grants, attempt.name, attempt.port)
        if granted and attempt.hello is Hello.NAMED:
            return Decision(verdict=Verdict.ALLOW_NAME, rule=_flag("--secret", granted))
    if attempt.way is Way.TCP and any(rule.name and rule.covers_port(attempt.port) for rule in policy.deny):
        if attempt.hello is Hello.UNREAD:
            return Decision(verdict=Verdict.READ_NAME)
        if attempt.hello is Hello.ENCRYPTED:
            return _deny(_ENCRYPTED)
    return Decision(verdict=Verdict.ALLOW, rule=_flag("--allow-net", allowed))


_ENCRYPTED = (
    "the host name is encrypted (ECH), so no rule by name can be applied: switch ECH off in the client"
)


def _decide_name(policy: Policy, attempt: Attempt, address: Address) -> Decision:
    rules = (*policy.allow, *policy.grants)
    if not any(rule.name and rule.covers_port(attempt.port) for rule in rules):
        return _deny(
            "no --allow-net rule covers the address and port",
            remedy=f"--allow-net {_with_port(attempt.name or str(address), attempt.port)}",
        )
    match attempt.hello:
        case Hello.UNREAD:
            return Decision(verdict=Verdict.READ_NAME)
        case Hello.ENCRYPTED:
            return _deny(_ENCRYPTED)
        case Hello.NAMELESS:
            return _deny(
                "it is neither TLS nor HTTP with a host name, and no --allow-net rule covers the address",
                remedy=f"--allow-net {_with_port(str(address), attempt.port)}",
            )
    name = attempt.name or ""
    found = _by_name(rules, name, attempt.port)
    if found is None:
        return _deny("no --allow-net rule covers the host", remedy=f"--allow-net {name}")
    return Decision(
        verdict=Verdict.ALLOW_NAME, rule=_flag("--secret" if found in policy.grants else "--allow-net", found)
    )


def _decide_question(policy: Policy, name: str) -> Decision:
    """May this name be asked for? Otherwise the question itself would carry data out."""
    if name == HOST_ALIAS:
        if policy.host_access:
            return Decision(verdict=Verdict.HOST)
        return _deny(
            "the host may not be reached", rule="--host-access disabled", remedy="--host-access enabled"
        )
    denied = next((rule for rule in policy.deny if rule.port is None and rule.covers_name(name)), None)
    if denied is not None:
        return _denied_by(denied)
    if policy.is_open:
        return Decision(verdict=Verdict.RESOLVE)
    found = next((rule for rule in (*policy.allow, *policy.grants) if rule.covers_name(name)), None)
    if found is None:
        return _deny("no --allow-net rule covers the name", remedy=f"--allow-net {name}")
    return Decision(verdict=Verdict.RESOLVE, rule=_flag("--allow-net", found))


def _by_address(rules: tuple[Rule, ...], attempt: Attempt, address: Address) -> Rule | None:
    return next(
        (rule for rule in rules if rule.covers_address(address) and rule.covers_port(attempt.port)), None
    )


def _by_name(rules: tuple[Rule, ...], name: str, port: int | None) -> Rule | None:
    return next((rule for rule in rules if rule.covers_name(name) and rule.covers_port(port)), None)


def _deny(reason: str, *, rule: str = "", remedy: str = "") -> Decision:
    return Decision(verdict=Verdict.DENY, reason=reason, rule=rule, remedy=remedy)


def _denied_by(rule: Rule) -> Decision:
    flag = f"--deny-net {rule.text}"
    return _deny(f"{flag} covers it", rule=flag, remedy=f"leave out {flag}")


def _flag(flag: str, rule: Rule | None) -> str:
    return "" if rule is None else f"{flag} {rule.text}"


def _with_port(host: str, port: int | None) -> str:
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
