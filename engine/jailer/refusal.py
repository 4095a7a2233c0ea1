"""Why a jail could not be built, in words: from what bubblewrap or the gate said last, and what the host's settings are."""

from __future__ import annotations

from pathlib import Path

from engine.errors import JailError
from engine.fsutil import tail_lines
from engine.host.namespaces import find_forbidding_switch

WEAKER = "weaker, and only by name: `--security disabled` runs machines without a jail"
_SPEAKERS = ("bwrap:", "the jail could not be closed:")


def find_refusal(log_path: Path, *, sysctl_dir: Path = Path("/proc/sys")) -> JailError | None:
    """The error behind a machine that never began, from its log; None when its jail was not the reason."""
    said = [line for line in tail_lines(log_path) if line.startswith(_SPEAKERS)]
    if not said:
        return None
    switch = find_forbidding_switch(sysctl_dir)
    if switch is None or ("namespace" not in said[-1] and "map" not in said[-1]):
        return JailError(
            f"the machine's jail could not be built: {said[-1]}",
            hint=f"`boxlite system doctor` says what this host lacks; inside a container, allow it to make user namespaces."
            f" {WEAKER.capitalize()}",
        )
    return JailError(
        f"the machine's jail could not be built: {switch.reason} [{switch.name}]: {said[-1]}",
        hint=f"{switch.remedy}. {WEAKER.capitalize()}",
    )
