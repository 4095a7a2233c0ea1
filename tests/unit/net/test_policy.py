"""The policy as a function: what it says to each way, and what holds whatever the rules are."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.net.policy import (
    Attempt,
    Decision,
    Hello,
    Policy,
    Verdict,
    Way,
    decide,
    is_never_reachable,
    is_private,
)
from engine.net.rules import parse_rule, parse_rules

GOOD = "93.184.216.34"
FORBIDDEN = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "169.254.1.1", "168.63.129.16", "100.100.100.200", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "::", "::1", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "::127.0.0.1",
)  # fmt: skip


def policy(*allow: str, deny: tuple[str, ...] = (), host_access: bool = True) -> Policy:
    return Policy(allow=parse_rules(allow), deny=parse_rules(deny), host_access=host_access)


def ask(rules: Policy, way: Way, address: str | None, port: int | None = 443, **rest: object) -> Decision:
    chosen = None if address is None else ipaddress.ip_address(address)
    return decide(rules, Attempt(way=way, address=chosen, port=port, **rest))  # type: ignore[arg-type]


def named(rules: Policy, name: str, *, address: str = GOOD, port: int = 443) -> Decision:
    return ask(rules, Way.TCP, address, port, name=name, hello=Hello.NAMED)


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
names = st.from_regex(r"\A[a-z]{1,8}(\.[a-z]{1,8}){1,3}\Z")
ports = st.integers(1, 65535)
rule_texts = st.one_of(
    names,
    names.map(lambda name: f"*.{name}"),
    st.tuples(names, ports).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    addresses.map(str),
    st.tuples(addresses, st.integers(0, 32)).map(
        lambda pair: str(ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False))
    ),
)
policies = st.builds(
    lambda allow, deny, host: policy(*allow, deny=tuple(deny), host_access=host),
    st.lists(rule_texts, max_size=4),
    st.lists(rule_texts, max_size=3),
    st.booleans(),
)
ways = st.sampled_from((Way.TCP, Way.UDP, Way.ICMP, Way.ANSWER))


@given(policies, ways, st.sampled_from(FORBIDDEN), ports, st.one_of(st.none(), names))
def test_decide_forbidden_addresses_are_denied_whatever_the_rules(
    rules: Policy, way: Way, address: str, port: int, name: str | None
) -> None:
    hello = Hello.NAMED if name else Hello.NAMELESS
    assert ask(rules, way, address, port, name=name, hello=hello).denied


@given(policies, ways, addresses, ports, names)
def test_decide_denied_by_address_is_denied_by_every_way(
    rules: Policy, way: Way, address: ipaddress.IPv4Address, port: int, name: str
) -> None:
    denying = Policy(
        allow=rules.allow, deny=(*rules.deny, parse_rule(str(address))), host_access=rules.host_access
    )
    said = decide(denying, Attempt(way=way, address=address, port=port, name=name, hello=Hello.NAMED))
    assert said.denied or (said.verdict is Verdict.RESOLVE and str(address) == "192.168.127.1")


@given(policies, addresses, ports, names)
def test_decide_denied_name_is_denied_to_every_address(
    rules: Policy, address: ipaddress.IPv4Address, port: int, name: str
) -> None:
    denying = Policy(allow=rules.allow, deny=(*rules.deny, parse_rule(name)), host_access=rules.host_access)
    attempt = Attempt(way=Way.TCP, address=address, port=port, name=name, hello=Hello.NAMED)
    verdict = decide(denying, attempt).verdict
    assert verdict in (Verdict.DENY, Verdict.HOST, Verdict.RESOLVE)
    assert decide(denying, Attempt(way=Way.DNS, name=name)).denied


@given(st.lists(names, min_size=1, max_size=4), addresses, ports)
def test_decide_under_names_alone_nothing_but_tcp_leaves(
    allow: list[str], address: ipaddress.IPv4Address, port: int
) -> None:
    rules = policy(*allow)
    for way in (Way.UDP, Way.ICMP):
        said = decide(rules, Attempt(way=way, address=address, port=port))
        assert said.verdict in (Verdict.DENY, Verdict.HOST, Verdict.RESOLVE)
    nameless = decide(rules, Attempt(way=Way.TCP, address=address, port=port, hello=Hello.NAMELESS))
    assert nameless.verdict in (Verdict.DENY, Verdict.HOST, Verdict.RESOLVE)


@given(policies, ways, addresses, ports)
def test_decide_every_denial_has_a_reason(
    rules: Policy, way: Way, address: ipaddress.IPv4Address, port: int
) -> None:
    said = decide(rules, Attempt(way=way, address=address, port=port, hello=Hello.NAMELESS))
    assert not said.denied or said.reason


@given(names, names, ports)
def test_decide_remedy_of_a_denied_name_allows_it(allowed: str, wanted: str, port: int) -> None:
    said = named(policy(allowed), wanted, port=port)
    if said.denied:
        assert said.remedy.startswith("--allow-net ")
        better = policy(allowed, said.remedy.removeprefix("--allow-net "))
        assert named(better, wanted, port=port).verdict is Verdict.ALLOW_NAME


@given(st.sampled_from(("10.1.2.3", "172.16.9.9", "192.168.5.5", "100.64.1.1", "fd12::1")), names, ports)
def test_decide_name_leads_to_a_private_address_only_with_a_rule_for_it(
    address: str, name: str, port: int
) -> None:
    assert ask(policy(name), Way.ANSWER, address, port, name=name).denied
    assert not ask(policy(name, address), Way.ANSWER, address, port, name=name).denied


@pytest.mark.parametrize("address", FORBIDDEN)
def test_is_never_reachable_knows_every_spelling(address: str) -> None:
    assert is_never_reachable(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", GOOD, "2606:4700::1", "11.0.0.1", "64:ff9b::808:808"])
def test_public_addresses_are_neither_forbidden_nor_private(address: str) -> None:
    parsed = ipaddress.ip_address(address)
    assert not is_never_reachable(parsed) and not is_private(parsed)


def test_decide_reads_the_name_only_where_it_matters() -> None:
    assert ask(policy("a.test"), Way.TCP, GOOD).verdict is Verdict.READ_NAME
    assert ask(policy("a.test:80"), Way.TCP, GOOD, 443).denied
    assert ask(policy(GOOD), Way.TCP, GOOD).verdict is Verdict.ALLOW
    assert ask(policy(), Way.TCP, GOOD).verdict is Verdict.ALLOW
    assert ask(policy(deny=("b.test",)), Way.TCP, GOOD).verdict is Verdict.READ_NAME


def test_decide_encrypted_hello_is_refused_where_names_rule_and_says_so() -> None:
    for rules in (policy("a.test"), policy(deny=("b.test",))):
        said = ask(rules, Way.TCP, GOOD, hello=Hello.ENCRYPTED)
        assert said.denied and "ECH" in said.reason
    assert not ask(policy(GOOD), Way.TCP, GOOD, hello=Hello.ENCRYPTED).denied


def test_decide_host_alias_is_ruled_by_host_access_and_denials_alone() -> None:
    alias = "192.168.127.254"
    assert ask(policy("a.test"), Way.TCP, alias).verdict is Verdict.HOST
    assert ask(policy("a.test"), Way.UDP, alias).verdict is Verdict.HOST
    closed = ask(policy(alias, host_access=False), Way.TCP, alias)
    assert closed.denied and closed.remedy == "--host-access enabled"
    assert ask(policy(deny=("host.boxlite.internal:22",)), Way.TCP, alias, 22).denied
    assert ask(policy("11.0.0.2", host_access=False), Way.TCP, "11.0.0.2", of_host=True).denied


def test_decide_grants_of_secrets_open_their_port_and_restrict_nothing() -> None:
    grant = parse_rule("api.test:443")
    alone = Policy(grants=(grant,))
    assert ask(alone, Way.TCP, GOOD, 80).verdict is Verdict.ALLOW
    assert ask(alone, Way.TCP, GOOD, 443).verdict is Verdict.READ_NAME
    assert named(alone, "api.test").verdict is Verdict.ALLOW_NAME
    assert named(alone, "other.test").verdict is Verdict.ALLOW
    beside = Policy(allow=parse_rules(("a.test",)), grants=(grant,))
    assert named(beside, "api.test").rule == "--secret api.test:443"
    assert named(beside, "api.test", port=80).denied


def test_decide_questions_to_any_server_are_answered_here_unless_its_address_is_allowed() -> None:
    assert ask(policy("a.test"), Way.UDP, "8.8.8.8", 53).verdict is Verdict.RESOLVE
    assert ask(policy("a.test", "8.8.8.8"), Way.UDP, "8.8.8.8", 53).verdict is Verdict.ALLOW
    assert ask(policy("a.test", deny=("8.8.8.8",)), Way.UDP, "8.8.8.8", 53).denied
    assert ask(policy(deny=("10.0.0.0/8",)), Way.UDP, "8.8.8.8", 53).verdict is Verdict.ALLOW
