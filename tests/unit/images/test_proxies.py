"""Which hosts a proxy is asked for. The cases of NO_PROXY are those of Go's httpproxy and of curl's manual page where they agree."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.images.proxies import Proxy, find_proxy, goes_direct


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("", "registry.test", 443, False),
        ("*", "registry.test", 443, True),
        ("registry.test", "registry.test", 443, True),
        ("registry.test", "REGISTRY.Test.", 443, True),
        ("registry.test", "eu.registry.test", 443, True),
        ("registry.test", "notregistry.test", 443, False),
        (".registry.test", "eu.registry.test", 443, True),
        (".registry.test", "registry.test", 443, False),
        ("*.registry.test", "eu.registry.test", 443, True),
        ("registry.test:5000", "registry.test", 5000, True),
        ("registry.test:5000", "registry.test", 443, False),
        ("a.test, registry.test", "registry.test", 443, True),
        ("a.test registry.test", "registry.test", 443, True),
        ("10.1.2.3", "10.1.2.3", 5000, True),
        ("10.1.2.3", "110.1.2.3", 5000, False),
        ("10.1.2.3:5000", "10.1.2.3", 5000, True),
        ("10.1.2.3:5000", "10.1.2.3", 5001, False),
        ("10.0.0.0/8", "10.200.0.1", 443, True),
        ("10.0.0.1/8", "10.200.0.1", 443, True),
        ("10.0.0.0/8", "11.0.0.1", 443, False),
        ("10.0.0.0/99", "10.0.0.1", 443, False),
        ("10.0.0.0/8", "ten.test", 443, False),
        ("fd00::/8", "fd00::7", 443, True),
        ("fd00::7", "fd00:0::7", 443, True),
        ("[fd00::7]:5000", "fd00::7", 5000, True),
        ("[fd00::7]:5000", "fd00::7", 5001, False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 443, True),
        ("localhost", "127.0.0.1", 443, False),
    ],
)
def test_no_proxy_names_a_host_or_does_not(no_proxy: str, host: str, port: int, direct: bool) -> None:
    assert goes_direct(no_proxy, host, port) is direct


@pytest.mark.parametrize(
    ("variables", "scheme", "found"),
    [
        ({}, "https", None),
        ({"https_proxy": "http://p.test:3128"}, "https", ("http", "p.test", 3128)),
        ({"https_proxy": "http://p.test:3128"}, "http", None),
        ({"https_proxy": "p.test:3128"}, "https", ("http", "p.test", 3128)),
        ({"all_proxy": "https://p.test"}, "http", ("https", "p.test", 443)),
        ({"http_proxy": "http://[fd00::1]:8080"}, "http", ("http", "fd00::1", 8080)),
        ({"https_proxy": "http://p.test", "no_proxy": "registry.test"}, "https", None),
    ],
)
def test_proxy_of_a_scheme_is_the_one_its_variable_names(
    variables: dict[str, str], scheme: str, found: tuple[str, str, int] | None
) -> None:
    proxy = find_proxy(variables, scheme, "registry.test", 443)
    assert proxy == (found and Proxy(scheme=found[0], host=found[1], port=found[2]))


def test_proxy_password_is_decoded_and_never_in_its_address() -> None:
    proxy = find_proxy({"https_proxy": "http://ann:p%20ss@p.test:1"}, "https", "registry.test", 443)
    assert proxy is not None
    assert (proxy.authorization, proxy.address) == ("Basic YW5uOnAgc3M=", "p.test:1")


@pytest.mark.parametrize("url", ["socks5://ann:secret@p.test", "http://", "http://p.test:99999"])
def test_proxy_that_cannot_be_one_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of an http or https proxy") as caught:
        find_proxy({"https_proxy": url}, "https", "registry.test", 443)
    assert "secret" not in caught.value.message
    assert "HTTPS_PROXY" in (caught.value.hint or "")
