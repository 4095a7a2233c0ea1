"""How a runtime is set up: registries, limits, accelerator."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Literal

from engine.values import dataclass


class Accel(StrEnum):
    """How the machine's processor is run."""

    KVM = "kvm"
    HVF = "hvf"
    TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """How one registry host is reached. `host` may carry a port and a path (`ghcr.io/myorg`). `transport` None: https, and
    http on this machine, unless `ca_file` or `skip_verify` says that there is TLS."""

    host: str
    transport: Literal["https", "http"] | None = None
    skip_verify: bool = False
    search: bool = False
    ca_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """What `--config`, the environment and global flags amount to. `home_dir` None: the default home."""

    home_dir: str | None = None
    image_registries: tuple[RegistryConfig, ...] = ()
    accel: Accel | None = None
    max_layer_decompressed_bytes: int = 20 * 1024**3
