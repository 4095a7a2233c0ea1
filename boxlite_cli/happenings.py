"""Events as people and programs see them, and which of them a filter leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boxlite_cli.humane import rfc3339
from engine.errors import InvalidArgumentError
from engine.events import BoxEvent, EventKind
from engine.values import dataclass

FILTER_KEYS = ("box", "name", "id", "event", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Values of one key are alternatives, except labels, which must all be there; several keys must all hold. `boxes` are
    names or beginnings of ids."""

    boxes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def passes(self, event: BoxEvent, labels: Mapping[str, str]) -> bool:
        if self.boxes and not any(
            event.box_name == box or event.box_id.startswith(box) for box in self.boxes
        ):
            return False
        if self.names and event.box_name not in self.names:
            return False
        if self.ids and not any(event.box_id.startswith(beginning) for beginning in self.ids):
            return False
        if self.events and event.kind not in self.events:
            return False
        return all(_has(labels, wanted) for wanted in self.labels)


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def parse_event_filter(words: Sequence[str]) -> EventFilter:
    found: dict[str, tuple[str, ...]] = dict.fromkeys(FILTER_KEYS, ())
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in FILTER_KEYS:
            raise InvalidArgumentError(
                f"filter {word!r} is not KEY=VALUE with one of: {', '.join(FILTER_KEYS)}"
            )
        if key == "event" and value not in tuple(EventKind):
            raise InvalidArgumentError(f"filter event={value}: an event is one of {', '.join(EventKind)}")
        found[key] = (*found[key], value)
    return EventFilter(
        boxes=found["box"],
        names=found["name"],
        ids=found["id"],
        events=found["event"],
        labels=found["label"],
    )


def event_object(event: BoxEvent) -> dict[str, Any]:
    """One event for `--format`."""
    return {
        "Cursor": event.cursor,
        "Time": rfc3339(event.time),
        "Event": str(event.kind),
        "ID": event.box_id,
        "Name": event.box_name,
        "Reason": event.reason,
        "Attributes": dict(event.attributes),
    }


def event_line(event: BoxEvent) -> str:
    """`2025-01-31T08:00:00.123456Z started Ab3dEf6hIj9L web (image=…): reason`. Of a change of status the event's name says
    enough."""
    hidden = () if event.kind is EventKind.RENAMED else ("from", "to")
    shown = ", ".join(f"{key}={value}" for key, value in event.attributes.items() if key not in hidden)
    head = f"{rfc3339(event.time)} {event.kind} {event.box_id} {event.box_name}"
    return head + (f" ({shown})" if shown else "") + (f": {event.reason}" if event.reason else "")
