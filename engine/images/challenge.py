"""What a registry asks for when it says 401 (RFC 9110, section 11.6.1; distribution, "Token Authentication")."""

from __future__ import annotations

import re

from engine.values import dataclass

_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)(?:\s+(?=[A-Za-z_-]+\s*=)|\s*(?=,|$))")
_PARAMETER = re.compile(r'([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_MAX_CHARS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to authenticate; `scheme` and the parameters' names are lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header, which may hold several challenges."""
    header = header[:_MAX_CHARS]
    starts = list(_SCHEME.finditer(header))
    ends = [match.start() for match in starts[1:]] + [len(header)] * bool(starts)
    return [
        Challenge(scheme=match[1].lower(), parameters=_parameters(header[match.end() : end]))
        for match, end in zip(starts, ends, strict=True)
    ]


def _parameters(text: str) -> dict[str, str]:
    return {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(text)
    }
