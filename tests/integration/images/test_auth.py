"""Who we are: htpasswd over TLS on a real registry; tokens from a small token server."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from engine.errors import ConfigError, NetworkError, RegistryAuthError
from engine.images.credentials import remove_credential, save_credential
from engine.images.login import log_in
from engine.images.pull import pull
from engine.layout import Layout
from engine.model import RegistryConfig, RuntimeConfig
from tests.framework.certificates import Certificate
from tests.framework.guarded import IMAGE, PASSWORD, USER, config_for
from tests.framework.registry import RunningRegistry
from tests.framework.scripted_registry import Answer, Asked, ScriptedRegistry, basic


async def test_pull_over_tls_with_the_right_password_works(
    layout: Layout, guarded: RunningRegistry, certificate: Certificate
) -> None:
    config = config_for(guarded, certificate, username=USER, password=PASSWORD)
    assert (await pull(layout, config, f"{guarded.host}/team/app:v1")).manifest_digest == IMAGE.digest


async def test_pull_with_a_wrong_password_names_registry_user_and_remedy(
    layout: Layout, guarded: RunningRegistry, certificate: Certificate
) -> None:
    config = config_for(guarded, certificate, username=USER, password="wrong")
    with pytest.raises(RegistryAuthError) as caught:
        await pull(layout, config, f"{guarded.host}/team/app:v1")
    assert f"registry {guarded.host} refused, for {guarded.host}/team/app, the credentials of ann" in str(
        caught.value
    )
    assert f"boxlite login {guarded.host}" in (caught.value.hint or "")
    assert "wrong" not in str(caught.value)


async def test_pull_without_a_password_says_how_to_log_in(
    layout: Layout, guarded: RunningRegistry, certificate: Certificate
) -> None:
    with pytest.raises(RegistryAuthError, match="an anonymous pull") as caught:
        await pull(layout, config_for(guarded, certificate), f"{guarded.host}/team/app:v1")
    assert (caught.value.hint or "").startswith(f"log in with `boxlite login {guarded.host}`")


async def test_login_proves_the_password_keeps_it_and_logout_forgets_it(
    layout: Layout, guarded: RunningRegistry, certificate: Certificate
) -> None:
    config = config_for(guarded, certificate)
    with pytest.raises(RegistryAuthError, match="refused"):
        await log_in(layout, config, guarded.host, USER, "wrong")
    assert not layout.auth_path.exists()
    await log_in(layout, config, guarded.host, USER, PASSWORD)
    assert layout.auth_path.stat().st_mode & 0o777 == 0o600
    assert (await pull(layout, config, f"{guarded.host}/team/app:v1")).manifest_digest == IMAGE.digest
    assert remove_credential(layout, guarded.host)
    assert not remove_credential(layout, guarded.host)
    with pytest.raises(RegistryAuthError):
        await pull(layout, config, f"{guarded.host}/team/app:v1")


@pytest.mark.parametrize("key", ["{host}", "{host}/team", "{host}/team/app", "https://{host}/v1/"])
async def test_credentials_of_docker_and_podman_are_used(
    layout: Layout,
    guarded: RunningRegistry,
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
) -> None:
    entry = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    document = {"auths": {key.format(host=guarded.host): entry, "other.example": {"auth": "AAAA"}}}
    (tmp_path / "auth.json").write_text(json.dumps(document))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    config = config_for(guarded, certificate)
    assert (await pull(layout, config, f"{guarded.host}/team/app:v1")).manifest_digest == IMAGE.digest


@pytest.mark.parametrize("how", ["credHelpers", "credsStore"])
async def test_credentials_of_a_helper_program_are_used(
    layout: Layout,
    guarded: RunningRegistry,
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    programs = tmp_path / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-test"
    helper.write_text(f"#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {guarded.host}' ] && echo '{answer}'\n")
    helper.chmod(0o755)
    (tmp_path / "docker").mkdir()
    value: object = {guarded.host: "test"} if how == "credHelpers" else "test"
    (tmp_path / "docker" / "config.json").write_text(json.dumps({how: value}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    config = config_for(guarded, certificate)
    assert (await pull(layout, config, f"{guarded.host}/team/app:v1")).manifest_digest == IMAGE.digest


async def test_broken_helper_is_named_when_the_registry_then_refuses(
    layout: Layout,
    guarded: RunningRegistry,
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "nowhere"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(RegistryAuthError, match="docker-credential-nowhere is not installed"):
        await pull(layout, config_for(guarded, certificate), f"{guarded.host}/team/app:v1")


async def test_unknown_authority_is_refused_and_skip_verify_accepts_it(
    layout: Layout, guarded: RunningRegistry, certificate: Certificate
) -> None:
    strict = config_for(
        guarded, certificate, ca_file=None, transport="https", username=USER, password=PASSWORD
    )
    with pytest.raises(NetworkError, match="certificate verify failed") as caught:
        await pull(layout, strict, f"{guarded.host}/team/app:v1")
    assert "ca_file" in (caught.value.hint or "")
    lax = config_for(guarded, certificate, ca_file=None, skip_verify=True, username=USER, password=PASSWORD)
    assert (await pull(layout, lax, f"{guarded.host}/team/app:v1")).manifest_digest == IMAGE.digest
    broken = config_for(guarded, certificate, ca_file="/dev/null")
    with pytest.raises(ConfigError, match="ca_file /dev/null"):
        await pull(layout, broken, f"{guarded.host}/team/app:v1")


async def test_https_to_a_plain_registry_says_that_it_is_plain(
    layout: Layout, registry: RunningRegistry
) -> None:
    reference = registry.push("plain", "v1", IMAGE)
    config = RuntimeConfig(image_registries=(RegistryConfig(host=registry.host, transport="https"),))
    with pytest.raises(NetworkError) as caught:
        await pull(layout, config, reference)
    assert '"transport": "http"' in (caught.value.hint or "")


def token_rules(
    registry: ScriptedRegistry, *, guard: str, user: str | None = None, refresh: str | None = None
) -> list[Asked]:
    """Make paths with `guard` in them need a token that `/token` gives; returns the requests for tokens."""
    tokens: list[Asked] = []

    def rule(asked: Asked) -> Answer | None:
        if asked.path == "/token":
            tokens.append(asked)
            if user and asked.headers.get("authorization") != basic(user, PASSWORD):
                return Answer(status=401, body=b'{"details":"no"}')
            if refresh and (asked.method != "POST" or f"refresh_token={refresh}".encode() not in asked.body):
                return Answer(status=401, body=b"{}")
            return Answer(body=json.dumps({"token": f"good-{len(tokens)}"}).encode())
        given = asked.headers.get("authorization", "")
        if guard in asked.path and given != f"Bearer good-{len(tokens)}":
            scope = "repository:test/image:pull"
            challenge = f'Bearer realm="http://{registry.host}/token",service="svc",scope="{scope}"'
            return Answer(status=401, body=b"{}", headers={"WWW-Authenticate": challenge})
        return None

    registry.rules.append(rule)
    return tokens


@pytest.mark.parametrize("guard", ["/v2/", "/blobs/"])
async def test_token_is_fetched_for_whatever_asks_for_one(
    layout: Layout, scripted: ScriptedRegistry, guard: str
) -> None:
    reference = scripted.put("v1", IMAGE)
    tokens = token_rules(scripted, guard=guard)
    await pull(layout, RuntimeConfig(), reference)
    assert len(tokens) == 1
    assert tokens[0].query == {"service": ["svc"], "scope": ["repository:test/image:pull"]}
    assert "authorization" not in tokens[0].headers


async def test_token_server_is_given_the_password_and_the_registry_is_not(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", IMAGE)
    token_rules(scripted, guard="/v2/", user=USER)
    save_credential(layout, scripted.host, USER, PASSWORD)
    await pull(layout, RuntimeConfig(), reference)
    assert not [
        asked
        for asked in scripted.asked
        if asked.path != "/token" and "Basic" in asked.headers.get("authorization", "")
    ]


async def test_token_server_that_refuses_is_named(layout: Layout, scripted: ScriptedRegistry) -> None:
    reference = scripted.put("v1", IMAGE)
    token_rules(scripted, guard="/v2/", user="somebody else")
    with pytest.raises(
        RegistryAuthError,
        match=f"token server {scripted.host} of registry {scripted.host} refused, for test/image, an anonymous pull",
    ):
        await pull(layout, RuntimeConfig(), reference)


async def test_identity_token_is_exchanged(
    layout: Layout, scripted: ScriptedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = scripted.put("v1", IMAGE)
    token_rules(scripted, guard="/v2/", refresh="idtok")
    document = {"auths": {scripted.host: {"identitytoken": "idtok"}}}
    (tmp_path / "auth.json").write_text(json.dumps(document))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    assert (await pull(layout, RuntimeConfig(), reference)).manifest_digest == IMAGE.digest


async def test_given_bearer_token_is_sent_at_once(layout: Layout, scripted: ScriptedRegistry) -> None:
    reference = scripted.put("v1", IMAGE)
    config = RuntimeConfig(
        image_registries=(RegistryConfig(host=scripted.host, transport="http", bearer_token="mine"),)
    )
    await pull(layout, config, reference)
    assert {asked.headers.get("authorization") for asked in scripted.asked} == {"Bearer mine"}


async def test_password_is_never_sent_to_a_plain_token_server_elsewhere(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    reference = scripted.put("v1", IMAGE)
    challenge = 'Bearer realm="ftp://elsewhere.example/token",service="svc"'
    scripted.rules.append(lambda _: Answer(status=401, headers={"WWW-Authenticate": challenge}))
    save_credential(layout, scripted.host, USER, PASSWORD)
    with pytest.raises(RegistryAuthError, match="asks to get a token from"):
        await pull(layout, RuntimeConfig(), reference)


async def test_password_does_not_follow_a_redirect_to_another_host(
    layout: Layout, scripted: ScriptedRegistry
) -> None:
    storage = ScriptedRegistry()
    try:
        reference = scripted.put("v1", IMAGE)
        storage.put("v1", IMAGE)

        def rule(asked: Asked) -> Answer | None:
            if not asked.headers.get("authorization"):
                return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            if "/blobs/" in asked.path:
                return Answer(
                    status=307,
                    headers={
                        "Location": f"http://{storage.host.replace('127.0.0.1', 'localhost')}{asked.path}"
                    },
                )
            return None

        scripted.rules.append(rule)
        save_credential(layout, scripted.host, USER, PASSWORD)
        await pull(layout, RuntimeConfig(), reference)
        assert storage.count("/blobs/") == 2
        assert not [asked for asked in storage.asked if "authorization" in asked.headers]
    finally:
        storage.stop()
