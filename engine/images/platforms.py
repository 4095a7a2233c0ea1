"""Platforms as images name them: operating system, processor, variant (Go's GOOS and GOARCH)."""

from __future__ import annotations

import os
import re

from engine.errors import InvalidArgumentError
from engine.values import dataclass

_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "amd64": ("amd64", ""), "aarch64": ("arm64", "v8"), "arm64": ("arm64", "v8"),
    "i386": ("386", ""), "i686": ("386", ""), "armv7l": ("arm", "v7"), "armhf": ("arm", "v7"), "armel": ("arm", "v6"), "arm": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}  # fmt: skip
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}
_UNKNOWN = "unknown"
"""What builders call the platform of entries that are no images, such as attestations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `OS/ARCH[/VARIANT]`, or one of the first two alone. Raises InvalidArgumentError."""
        parts = text.split("/")
        if not 1 <= len(parts) <= 3 or not all(_WORD.fullmatch(part) for part in parts):
            raise InvalidArgumentError(
                f"invalid platform {text!r}", hint="write it as OS/ARCH[/VARIANT], for example linux/arm64"
            )
        if len(parts) == 1:
            parts = [parts[0], cls.of_host().architecture] if text.lower() in _SYSTEMS else ["linux", *parts]
        architecture, variant = _normal(parts[1], parts[2] if len(parts) == 3 else "")
        return cls(os=parts[0].lower(), architecture=architecture, variant=variant)

    @classmethod
    def of_host(cls) -> Platform:
        """Linux on this machine's processor: what a box runs, whatever the host's own system is."""
        machine = os.uname().machine.lower()
        architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
        return cls(os="linux", architecture=architecture, variant=variant)

    @classmethod
    def from_document(cls, value: object) -> Platform | None:
        """Read a descriptor's `platform`; None when there is none that could be read."""
        if not isinstance(value, dict):
            return None
        os, architecture, variant = (value.get(key, "") for key in ("os", "architecture", "variant"))
        if not (isinstance(os, str) and isinstance(architecture, str)) or not architecture:
            return None
        normal, its_variant = _normal(architecture, variant if isinstance(variant, str) else "")
        return cls(os=os or "linux", architecture=normal, variant=its_variant)

    def __str__(self) -> str:
        shows = self.variant and self.variant != _DEFAULT_VARIANTS.get(self.architecture)
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if shows else "")

    @property
    def is_real(self) -> bool:
        return _UNKNOWN not in (self.os, self.architecture)

    def rank(self, offered: Platform | None) -> int | None:
        """How well an image for `offered` serves here: 0 is exact, more is worse, None not at all.

        A processor runs images for lower variants of its family (arm v7 runs v6), not for higher ones.
        """
        if offered is None or (offered.os, offered.architecture) != (self.os, self.architecture):
            return None
        mine, its = (_variant_number(one) for one in (self, offered))
        if mine is None or its is None or mine == its:
            return 0 if self.variant == offered.variant else 1
        return None if its > mine else 1 + mine - its


def _normal(architecture: str, variant: str) -> tuple[str, str]:
    name, default = _ARCHITECTURES.get(architecture.lower(), (architecture.lower(), ""))
    return name, variant.lower() or default


def _variant_number(platform: Platform) -> int | None:
    """`v8` → 8, `v8.1` → 8; nothing for amd64's plain entry, which is v1."""
    digits = re.match(r"v(\d+)", platform.variant)
    if digits:
        return int(digits[1])
    return 1 if platform.architecture == "amd64" and not platform.variant else None
