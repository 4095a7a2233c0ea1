"""Waiting for what another process is about to do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.framework.cli import Boxlite


def eventually(is_so: Callable[[], bool], *, within_s: float, every_s: float = 0.1) -> float:
    """Seconds until `is_so()`; fails when it does not come true."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() < begun + within_s, f"not within {within_s:g} s"
        time.sleep(every_s)
    return time.monotonic() - begun


def inspect(boxlite: Boxlite, name: str) -> dict[str, Any]:
    (shown,) = json.loads(boxlite.out("inspect", "--type", "box", name))
    assert isinstance(shown, dict)
    return shown


def status(boxlite: Boxlite, name: str) -> str:
    return str(inspect(boxlite, name)["State"]["Status"])


def wait_status(boxlite: Boxlite, name: str, *words: str, within_s: float = 30.0) -> float:
    """Seconds until the box's status is one of `words`."""
    return eventually(lambda: status(boxlite, name) in words, within_s=within_s)


def wait_gone(boxlite: Boxlite, name: str, *, within_s: float = 30.0) -> float:
    """Seconds until there is no such box."""
    return eventually(lambda: boxlite("inspect", "--type", "box", name).returncode == 1, within_s=within_s)
