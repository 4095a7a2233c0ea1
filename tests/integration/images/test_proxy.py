"""Pulls through a proxy, as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."""

from __future__ import annotations

import pytest

from engine.errors import NetworkError
from engine.images.pull import pull
from engine.layout import Layout
from engine.model import RuntimeConfig
from tests.framework.certificates import Certificate
from tests.framework.guarded import IMAGE, PASSWORD, USER, config_for
from tests.framework.image_builder import build_image, file
from tests.framework.proxy import ForwardProxy, asking_proxy, proxy, tls_proxy
from tests.framework.registry import RunningRegistry, free_port

__all__ = ["asking_proxy", "proxy", "tls_proxy"]

PLAIN = build_image([[file("a", b"plain")]])


@pytest.fixture
def team(guarded: RunningRegistry, certificate: Certificate) -> tuple[str, RuntimeConfig]:
    """An image behind TLS and a password, and the configuration that gets it."""
    config = config_for(guarded, certificate, username=USER, password=PASSWORD)
    return f"{guarded.host}/team/app:v1", config


async def test_https_registry_is_reached_through_a_tunnel(
    layout: Layout, team: tuple[str, RuntimeConfig], proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
    reference, config = team
    assert (await pull(layout, config, reference)).manifest_digest == IMAGE.digest
    assert set(proxy.asked) == {f"CONNECT {reference.partition('/')[0]}"}


async def test_https_registry_is_reached_through_a_proxy_that_is_reached_by_tls(
    layout: Layout, team: tuple[str, RuntimeConfig], tls_proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"https://{tls_proxy.host}")
    reference, config = team
    assert (await pull(layout, config, reference)).manifest_digest == IMAGE.digest
    assert set(tls_proxy.asked) == {f"CONNECT {reference.partition('/')[0]}"}


async def test_proxy_whose_authority_is_unknown_is_named(
    layout: Layout, registry: RunningRegistry, tls_proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = registry.push("proxied", "v1", PLAIN)
    monkeypatch.setenv("HTTP_PROXY", f"https://{tls_proxy.host}")
    with pytest.raises(NetworkError, match=f"proxy {tls_proxy.host}.*certificate verify failed"):
        await pull(layout, RuntimeConfig(), reference)
    assert tls_proxy.asked == []


async def test_unknown_authority_is_refused_behind_a_proxy_too(
    layout: Layout,
    guarded: RunningRegistry,
    certificate: Certificate,
    proxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
    strict = config_for(guarded, certificate, ca_file=None, transport="https")
    with pytest.raises(NetworkError, match="certificate verify failed"):
        await pull(layout, strict, f"{guarded.host}/team/app:v1")


async def test_plain_registry_is_asked_through_http_proxy(
    layout: Layout, registry: RunningRegistry, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = registry.push("proxied", "v1", PLAIN)
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
    assert (await pull(layout, RuntimeConfig(), reference)).manifest_digest == PLAIN.digest
    assert proxy.asked[0] == f"GET http://{registry.host}/v2/proxied/manifests/v1"
    assert len(proxy.asked) == 3


@pytest.mark.parametrize(
    "excluded", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "elsewhere.test, 127.0.0.1", "*"]
)
async def test_hosts_of_no_proxy_are_asked_themselves(
    layout: Layout,
    registry: RunningRegistry,
    proxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
    excluded: str,
) -> None:
    reference = registry.push("direct", "v1", PLAIN)
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
    monkeypatch.setenv("NO_PROXY", excluded.format(port=registry.host.rpartition(":")[2]))
    assert (await pull(layout, RuntimeConfig(), reference)).manifest_digest == PLAIN.digest
    assert proxy.asked == []


async def test_proxy_gets_the_password_of_its_url_and_the_registry_does_not(
    layout: Layout,
    team: tuple[str, RuntimeConfig],
    asking_proxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:p%20ss@{asking_proxy.host}")
    reference, config = team
    assert (await pull(layout, config, reference)).manifest_digest == IMAGE.digest


async def test_proxy_that_refuses_is_named_without_its_password(
    layout: Layout,
    team: tuple[str, RuntimeConfig],
    asking_proxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:wrong@{asking_proxy.host}")
    reference, config = team
    with pytest.raises(NetworkError, match="407") as caught:
        await pull(layout, config, reference)
    assert asking_proxy.host in caught.value.message
    assert "wrong" not in caught.value.message
    assert "HTTPS_PROXY" in (caught.value.hint or "")


async def test_proxy_that_is_not_there_is_named(
    layout: Layout, team: tuple[str, RuntimeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:secret@{nowhere}")
    reference, config = team
    with pytest.raises(NetworkError, match=nowhere) as caught:
        await pull(layout, config, reference)
    assert "secret" not in caught.value.message
    assert "HTTPS_PROXY" in (caught.value.hint or "")
