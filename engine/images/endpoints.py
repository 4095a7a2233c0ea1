"""Where a reference is looked for: the registry's address, how to talk to it, and its mirrors."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from engine.errors import InvalidArgumentError
from engine.images.reference import DEFAULT_REGISTRY, ImageReference, is_short_name
from engine.model import RegistryConfig
from engine.values import dataclass

_DOCKER_HUB_API = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place to ask. `host` may carry a port, `repository` is the path there; `is_mirror` is asked before the registry
    itself and never blamed for not having something."""

    host: str
    repository: str
    is_plain_http: bool
    config: RegistryConfig
    is_mirror: bool = False

    @property
    def base_url(self) -> str:
        return f"{'http' if self.is_plain_http else 'https'}://{self.host}/v2/{self.repository}"


def candidates(text: str, registries: Sequence[RegistryConfig]) -> list[ImageReference]:
    """The references that `text` may mean, in the order to try them: for a short name one per registry to search."""
    searched = [registry.host for registry in registries if registry.search]
    if not is_short_name(text) or not searched:
        return [ImageReference.parse(text)]
    return [ImageReference.parse(f"{host.strip('/')}/{text}") for host in searched]


def config_for(reference: ImageReference, registries: Sequence[RegistryConfig]) -> RegistryConfig:
    """What is configured for the reference's registry; an entry with a path wins where the path fits."""
    best = RegistryConfig(host=reference.registry)
    best_chars = -1
    for registry in registries:
        host = registry.host.strip("/")
        if (reference.name == host or reference.name.startswith(f"{host}/")) and len(host) > best_chars:
            best, best_chars = registry, len(host)
    return best


def endpoints_for(reference: ImageReference, registries: Sequence[RegistryConfig]) -> list[Endpoint]:
    """The configured mirrors in their order, then the registry itself."""
    config = config_for(reference, registries)
    found = [_mirror(reference, mirror, registries) for mirror in config.mirrors]
    host = _DOCKER_HUB_API if reference.registry == DEFAULT_REGISTRY else reference.registry
    found.append(
        Endpoint(
            host=host,
            repository=reference.repository,
            is_plain_http=_is_plain_http(host, config),
            config=config,
        )
    )
    return found


def _mirror(reference: ImageReference, mirror: str, registries: Sequence[RegistryConfig]) -> Endpoint:
    scheme, has_scheme, address = mirror.rpartition("://")
    if has_scheme and scheme not in ("http", "https"):
        raise InvalidArgumentError(f"the mirror {mirror!r} is neither http nor https")
    host, _, path = address.strip("/").partition("/")
    repository = f"{path}/{reference.repository}" if path else reference.repository
    named = next(
        (registry for registry in registries if registry.host.strip("/") in (host, address.strip("/"))), None
    )
    config = named or RegistryConfig(host=host)
    plain = scheme == "http" if has_scheme else _is_plain_http(host, config)
    return Endpoint(host=host, repository=repository, is_plain_http=plain, config=config, is_mirror=True)


def _is_plain_http(host: str, config: RegistryConfig) -> bool:
    if config.transport is None:
        return is_loopback(host) and not (config.ca_file or config.skip_verify)
    return config.transport == "http"


def is_loopback(host: str) -> bool:
    """Does `HOST[:PORT]` name this machine (127.0.0.0/8, ::1, localhost)?"""
    address = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
