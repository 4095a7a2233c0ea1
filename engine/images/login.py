"""Logging in to registries: the password is proved before it is kept."""

from __future__ import annotations

import asyncio

from engine.errors import InvalidArgumentError, RegistryAuthError
from engine.images.credentials import Credential, save_credential
from engine.images.endpoints import endpoints_for
from engine.images.reference import DEFAULT_REGISTRY, ImageReference, split_registry
from engine.layout import Layout
from engine.model import RuntimeConfig


async def log_in(layout: Layout, config: RuntimeConfig, registry: str, username: str, password: str) -> None:
    """Show the registry the name and password and, when it takes them, keep them for later pulls.

    Raises RegistryAuthError when it does not, NetworkError when it cannot be reached.
    """
    if not username:
        raise InvalidArgumentError("logging in needs a user name")
    from engine.images.registry import RegistryClient

    host = registry_host(registry)
    probe = ImageReference.parse(f"{host}/login/probe")
    endpoint = endpoints_for(probe, config.image_registries)[-1]
    credential = Credential(source="this login", username=username, password=password)
    client = RegistryClient(probe, endpoint, credential)
    try:
        await asyncio.to_thread(client.ping)
    except RegistryAuthError as error:
        raise RegistryAuthError(
            f"registry {host} refused the user {username} and the password given",
            hint="check both; some registries want an access token in place of the password",
        ) from error
    finally:
        client.close()
    await asyncio.to_thread(save_credential, layout, host, username, password)


def registry_host(text: str) -> str:
    """`https://ghcr.io/`, `ghcr.io` → `ghcr.io`; an empty text is Docker Hub. Raises InvalidArgumentError."""
    bare = (text.partition("://")[2] or text).strip("/")
    if not bare:
        return DEFAULT_REGISTRY
    host, _, rest = bare.partition("/")
    if rest not in ("", "v1", "v2"):
        raise InvalidArgumentError(
            f"{text!r} is not a registry's host",
            hint="give the host alone, such as ghcr.io or 127.0.0.1:5000",
        )
    return split_registry(f"{host}/x")[0] if "." in host or ":" in host else host
