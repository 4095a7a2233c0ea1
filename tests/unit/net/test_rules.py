"""Rules as they are typed."""

from __future__ import annotations

import ipaddress

import pytest

from engine.errors import InvalidArgumentError
from engine.net.rules import normal_name, parse_rule


@pytest.mark.parametrize(
    ("text", "name", "wildcard", "network", "port"),
    [
        ("example.com", "example.com", False, None, None),
        ("Example.COM.", "example.com", False, None, None),
        ("example.com:443", "example.com", False, None, 443),
        ("*.example.com", "example.com", True, None, None),
        ("*.example.com:8443", "example.com", True, None, 8443),
        ("bücher.example", "xn--bcher-kva.example", False, None, None),
        ("10.0.0.1", None, False, "10.0.0.1/32", None),
        ("10.0.0.0/8:443", None, False, "10.0.0.0/8", 443),
        ("2001:db8::1", None, False, "2001:db8::1/128", None),
        ("[2001:db8::1]:22", None, False, "2001:db8::1/128", 22),
        ("[2001:db8::/32]:22", None, False, "2001:db8::/32", 22),
        ("2001:db8::/32", None, False, "2001:db8::/32", None),
    ],
)
def test_parse_rule_reads_every_form(
    text: str, name: str | None, wildcard: bool, network: str | None, port: int | None
) -> None:
    rule = parse_rule(text)
    assert (rule.name, rule.wildcard, rule.port) == (name, wildcard, port)
    assert (str(rule.network) if rule.network else None) == network


@pytest.mark.parametrize(
    "text", ["", "*", "*.*.com", "a b", "http://a.test", "a.test:0", "a.test:99999", "a.test:x", "10.0.0.1/8", "1.2.3", "-a.test", "a..b"]
)  # fmt: skip
def test_parse_rule_refuses_what_is_none(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_rule(text)


def test_wildcard_covers_subdomains_and_not_the_apex() -> None:
    rule = parse_rule("*.example.com")
    assert rule.covers_name("a.example.com") and rule.covers_name("a.b.example.com")
    assert not rule.covers_name("example.com") and not rule.covers_name("badexample.com")


def test_rule_with_a_port_does_not_cover_what_has_none() -> None:
    assert not parse_rule("10.0.0.1:80").covers_port(None) and parse_rule("10.0.0.1").covers_port(None)
    assert not parse_rule("10.0.0.1").covers_address(ipaddress.ip_address("::a00:1"))


@pytest.mark.parametrize(
    "text", ["1.2.3.4", "2130706433", "0x7f000001", "", ".", "a" * 64 + ".test", "a\0.test"]
)
def test_normal_name_refuses_addresses_in_disguise(text: str) -> None:
    assert normal_name(text) is None


def test_rule_of_mapped_addresses_covers_the_ipv4_addresses_they_are() -> None:
    for text, address in (("::ffff:128.0.0.0", "128.0.0.0"), ("::ffff:10.0.0.0/104", "10.1.2.3")):
        assert parse_rule(text).covers_address(ipaddress.ip_address(address))
    assert not parse_rule("::/0").covers_address(ipaddress.ip_address("10.1.2.3"))
