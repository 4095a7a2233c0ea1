"""Registries that ask who one is: Debian's own with TLS, and either htpasswd or a token server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.model import RegistryConfig, RuntimeConfig
from engine.process import find_program
from tests.framework.certificates import Certificate
from tests.framework.image_builder import build_image, file
from tests.framework.registry import RunningRegistry, StartRegistry
from tests.framework.scripted_registry import basic
from tests.framework.token_server import ISSUER, SERVICE, TokenServer

IMAGE = build_image([[file("a", b"secret")]])
USER, PASSWORD = "ann", "p:ss wörd"


@pytest.fixture
def guarded(registry_factory: StartRegistry, certificate: Certificate, tmp_path: Path) -> RunningRegistry:
    """A registry with TLS that only USER may use, holding IMAGE."""
    htpasswd = find_program("htpasswd")
    if htpasswd is None:
        pytest.skip("htpasswd is not installed (Debian: apache2-utils)")
    users = subprocess.run((htpasswd, "-Bbn", USER, PASSWORD), capture_output=True, check=True).stdout
    (tmp_path / "users").write_bytes(users)
    running = registry_factory(
        http={"tls": {"certificate": str(certificate.certificate), "key": str(certificate.key)}},
        auth={"htpasswd": {"realm": "test", "path": str(tmp_path / "users")}},
    )
    running.verify = str(certificate.certificate)
    running.headers = {"Authorization": basic(USER, PASSWORD)}
    running.push("team/app", "v1", IMAGE)
    return running


def config_for(registry: RunningRegistry, certificate: Certificate, **changes: object) -> RuntimeConfig:
    ca_file = str(certificate.certificate)
    entry = RegistryConfig(host=registry.host, **{"ca_file": ca_file, **changes})  # type: ignore[arg-type]
    return RuntimeConfig(image_registries=(entry,))


@pytest.fixture
def token_server(tmp_path: Path) -> Iterator[TokenServer]:
    """A server whose tokens let USER do everything, and nobody else anything."""
    server = TokenServer(tmp_path / "token-server", users={USER: PASSWORD})
    yield server
    server.stop()


@pytest.fixture
def token_guarded(
    registry_factory: StartRegistry, certificate: Certificate, token_server: TokenServer
) -> RunningRegistry:
    """A registry with TLS that believes the token server, holding IMAGE."""
    running = registry_factory(
        http={"tls": {"certificate": str(certificate.certificate), "key": str(certificate.key)}},
        auth={
            "token": {
                "realm": token_server.realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(token_server.certificate),
            }
        },
    )
    running.verify = str(certificate.certificate)
    running.headers = {"Authorization": f"Bearer {token_server.token('team/app', ('pull', 'push'))}"}
    running.push("team/app", "v1", IMAGE)
    return running
