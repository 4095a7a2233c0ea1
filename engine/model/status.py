"""Where a box is in its life, and which change may follow which."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from engine.errors import InvalidStateError


def utc_now() -> datetime:
    return datetime.now(UTC)


class BoxStatus(StrEnum):
    """Where a box is in its life."""

    CONFIGURED = "configured"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PAUSED = "paused"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def is_active(self) -> bool:
        """A process of ours stands behind it."""
        return self in _ACTIVE

    @property
    def is_running(self) -> bool:
        """Do its commands run now?"""
        return self is BoxStatus.RUNNING

    @property
    def is_transient(self) -> bool:
        """Is it on its way to another state?"""
        return self is BoxStatus.STOPPING

    @property
    def can_start(self) -> bool:
        """Would `start` start it?"""
        return self in (BoxStatus.CONFIGURED, BoxStatus.STOPPED, BoxStatus.FAILED)

    @property
    def can_stop(self) -> bool:
        """Would `stop` end it?"""
        return self in (BoxStatus.RUNNING, BoxStatus.PAUSED)

    @property
    def can_remove(self) -> bool:
        """May it be removed without force?"""
        return not self.is_active

    @property
    def can_run(self) -> bool:
        """May something be executed in it, which starts it where needed?"""
        return self in (BoxStatus.CONFIGURED, BoxStatus.RUNNING, BoxStatus.STOPPED)


_ACTIVE = frozenset({BoxStatus.RUNNING, BoxStatus.STOPPING, BoxStatus.PAUSED})


_S = BoxStatus


TRANSITIONS: dict[BoxStatus, frozenset[BoxStatus]] = {
    _S.CONFIGURED: frozenset({_S.RUNNING, _S.FAILED}),
    _S.RUNNING: frozenset({_S.STOPPING, _S.STOPPED, _S.PAUSED, _S.FAILED, _S.UNKNOWN, _S.CONFIGURED}),
    _S.STOPPING: frozenset({_S.STOPPED, _S.FAILED, _S.UNKNOWN, _S.CONFIGURED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.STOPPING, _S.STOPPED, _S.FAILED, _S.UNKNOWN}),
    _S.STOPPED: frozenset({_S.RUNNING, _S.FAILED}),
    _S.FAILED: frozenset({_S.RUNNING, _S.STOPPED}),
    _S.UNKNOWN: frozenset({_S.STOPPED, _S.FAILED, _S.RUNNING}),
}
"""The whole state machine: from → the statuses that may follow. Removal is possible from any status
that is not active. Back to configured goes a box whose machine ran for a copy only."""


def check_transition(old: BoxStatus, new: BoxStatus, *, box: str, operation: str) -> None:
    """Raise InvalidStateError unless `new` may follow `old`."""
    if new not in TRANSITIONS[old]:
        raise InvalidStateError(f"it is {old}, which {new} cannot follow", box=box, operation=operation)


class HealthState(StrEnum):
    """What a box's own health check last said; NONE where it has none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
