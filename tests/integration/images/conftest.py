"""Fixtures of the tests that pull and import images."""

import pytest

from tests.framework.certificates import certificate
from tests.framework.guarded import guarded, token_guarded, token_server
from tests.framework.home import alpine_rootfs, layout
from tests.framework.registry import registry, registry_factory
from tests.framework.scripted_registry import scripted

__all__ = [
    "alpine_rootfs",
    "certificate",
    "guarded",
    "layout",
    "registry",
    "registry_factory",
    "scripted",
    "token_guarded",
    "token_server",
]


@pytest.fixture(autouse=True)
def no_credentials_of_the_user(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    """Whoever runs the tests keeps their own credentials and proxies out of them."""
    for name in (
        "REGISTRY_AUTH_FILE",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "DOCKER_CONFIG",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "https_proxy",
        "http_proxy",
        "no_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
