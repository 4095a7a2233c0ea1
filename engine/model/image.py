"""Images and the disks made from them."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from enum import StrEnum

from engine.values import dataclass


class PullPolicy(StrEnum):
    """When an image is fetched from its registry: if it is not here, every time, or never."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The run-time part of an image's configuration (OCI image-spec, config.md)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    architecture: str = ""
    os: str = "linux"
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer blob in the store: `digest` and `size_bytes` as compressed, `media_type` from the manifest."""

    digest: str
    size_bytes: int
    media_type: str
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is wholly in the local store. `reference` is fully qualified, `names` are all that mean it now;
    `source_digest` is what its registry calls it: its index's digest, or the manifest's own."""

    reference: str
    manifest_digest: str
    config_digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]
    size_bytes: int
    pulled_at: datetime
    names: tuple[str, ...] = ()
    source_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootfsDisk:
    """An ext4 file system made from an image: read-only, shared by all its boxes.

    `base_path` is the raw ext4 file, `overlay_path` an empty qcow2 that is backed by it, which a box copies.
    """

    base_path: str
    overlay_path: str
    size_bytes: int
