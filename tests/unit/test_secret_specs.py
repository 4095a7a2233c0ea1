"""What a secret may be, and which hosts it covers."""

import pickle

import pytest

from engine.errors import InvalidArgumentError
from engine.model import BoxSpec, Secret, SecretSpec
from engine.net.interception.authority import generate_authority
from engine.net.secrets import SecretsGrant


def _spec(*hosts: str, name: str = "KEY", placeholder: str = "") -> SecretSpec:
    return SecretSpec(name=name, hosts=hosts, placeholder=placeholder)


@pytest.mark.parametrize(
    ("rule", "host", "port", "covered"),
    [
        ("api.test", "api.test", 443, True),
        ("API.Test.", "api.test", 443, True),
        ("api.test", "api.test", 8443, False),
        ("api.test", "x.api.test", 443, False),
        ("api.test", "notapi.test", 443, False),
        ("*.api.test", "x.api.test", 443, True),
        ("*.api.test", "api.test", 443, False),
        ("*.api.test", "y.x.api.test", 443, False),
        ("api.test:8443", "api.test", 8443, True),
        ("api.test:8443", "api.test", 443, False),
        ("*.api.test:8443", "x.api.test", 8443, True),
        ("bücher.test", "xn--bcher-kva.test", 443, True),
    ],
)
def test_secret_covers_its_hosts_and_ports_only(rule: str, host: str, port: int, covered: bool) -> None:
    assert _spec(rule).covers(host, port) is covered


@pytest.mark.parametrize("host", ["", "*", "*.", "a..b", "10.0.0.1", "[::1]", "::1", "a b", "https://a.test", "a.test/x",
                                  "a.test:0", "a.test:99999", "*.*.a.test", "x*.a.test", "*.test:443:1"])  # fmt: skip
def test_host_that_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(InvalidArgumentError):
        _spec(host)


def test_secret_without_host_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="names no host"):
        _spec()


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "Ä"])
def test_name_that_is_no_variable_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        _spec("a.test", name=name)


@pytest.mark.parametrize(
    "value",
    ["", "abc", "two\nlines", "tab\tinside", " spaced-out", "nul\0", "x" * 20_000, "<BOXLITE_SECRET:KEY>"],
)
def test_value_that_no_header_carries_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Secret(spec=_spec("a.test"), value=value)
    assert not value or value not in str(caught.value)


def test_secrets_that_a_box_could_not_tell_apart_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="same name"):
        BoxSpec(secrets=(_spec("a.test"), _spec("b.test", name="key")))
    with pytest.raises(InvalidArgumentError, match="same placeholder"):
        BoxSpec(secrets=tuple(_spec("a.test", name=name, placeholder="token-token") for name in "AB"))


def test_value_and_key_are_in_no_representation() -> None:
    secret = Secret(spec=_spec("a.test"), value="the-real-value")
    grant = SecretsGrant(secrets=(secret,), authority=generate_authority("id", ["a.test"]))
    for text in (repr(secret), str(grant), f"{grant!r}"):
        assert "the-real-value" not in text
        assert "PRIVATE KEY" not in text
    assert pickle.loads(pickle.dumps(grant)) == grant
