"""When a box that ended is started again (`--restart`), and how long to wait before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.model import RestartKind, RestartPolicy

if TYPE_CHECKING:
    from engine.shim.run import Ending

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
SETTLED_AFTER_S = 10.0


def should_restart(policy: RestartPolicy, ending: Ending, restarts: int) -> bool:
    """Docker's rule; `restarts` is how often it has happened. A box that was stopped is never asked about."""
    match policy.kind:
        case RestartKind.ALWAYS | RestartKind.UNLESS_STOPPED:
            return True
        case RestartKind.ON_FAILURE:
            again = policy.max_retries == 0 or restarts < policy.max_retries
            return ending.exit_code != 0 and again
        case RestartKind.NO:
            return False


def backoff_s(restarts: int, ran_s: float) -> float:
    """A tenth of a second, doubled with every restart up to a minute; anew after a run of ten seconds."""
    if ran_s >= SETTLED_AFTER_S:
        return FIRST_DELAY_S
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(restarts, 16))
