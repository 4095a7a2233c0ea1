"""What happened to a box: one value for the database, the command line, the REST API and the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from engine.model import BoxStatus
from engine.values import dataclass


class EventKind(StrEnum):
    """What can happen to a box. LOST: it was on record as running, and nothing stood behind it any more."""

    CREATED = "created"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    FAILED = "failed"
    LOST = "lost"
    RENAMED = "renamed"
    UPDATED = "updated"
    REMOVED = "removed"
    HEALTH = "health"
    EXEC_STARTED = "exec_started"
    EXEC_ENDED = "exec_ended"
    COPIED_IN = "copied_in"
    COPIED_OUT = "copied_out"
    NETWORK_DENIED = "network_denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxEvent:
    """One entry of the log of events. `cursor` grows with every event of a home and is never used twice: a reader
    that remembers the last one it saw misses nothing and sees nothing twice. `reason` is in words."""

    cursor: int
    time: datetime
    box_id: str
    box_name: str
    kind: EventKind
    reason: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


_KINDS = {
    BoxStatus.CONFIGURED: EventKind.CREATED,
    BoxStatus.RUNNING: EventKind.STARTED,
    BoxStatus.STOPPING: EventKind.STOPPING,
    BoxStatus.STOPPED: EventKind.STOPPED,
    BoxStatus.PAUSED: EventKind.PAUSED,
    BoxStatus.FAILED: EventKind.FAILED,
    BoxStatus.UNKNOWN: EventKind.LOST,
}


def kind_of_transition(old: BoxStatus, new: BoxStatus) -> EventKind:
    """The event that a change of status makes."""
    if old is BoxStatus.PAUSED and new is BoxStatus.RUNNING:
        return EventKind.UNPAUSED
    if old.is_active and new is BoxStatus.CONFIGURED:  # it ran for a copy only
        return EventKind.STOPPED
    return _KINDS[new]
