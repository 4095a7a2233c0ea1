"""Storage that outlives boxes."""

from __future__ import annotations

import re
from dataclasses import field
from datetime import datetime

from engine.values import dataclass

VOLUME_NAME_PATTERN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
"""Two characters at least: `c:/x` is a drive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume of a home. `path` is its directory on the host; `used_by` the names of the boxes that mount it, running or
    not. An anonymous one was made for the one box whose id it is called by, and may outlive it."""

    name: str
    path: str
    created_at: datetime
    is_anonymous: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    used_by: tuple[str, ...] = ()
