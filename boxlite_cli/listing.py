"""Which boxes `ls` shows, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from boxlite_cli.parsers import parse_integer
from engine.errors import InvalidArgumentError, NotFoundError
from engine.model import BoxRecord, BoxStatus, HealthState, ListedBox
from engine.values import dataclass

Listed = BoxRecord | ListedBox
SORT_KEYS: dict[str, Callable[[Listed], Any]] = {
    "created": lambda record: -record.created_at.timestamp(),
    "name": lambda record: record.name,
    "status": lambda record: str(record.status),
    "image": lambda record: record.spec.image or record.spec.rootfs or "",
    "id": lambda record: record.id,
}
FILTER_KEYS = ("id", "name", "status", "label", "ancestor", "exited", "health", "before", "since")
STATUS_WORDS = {"exited": "stopped", "created": "configured"}
"""Docker's words for ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Filters of one key are alternatives, except labels; filters of several keys must all hold."""

    by_key: dict[str, tuple[str, ...]]

    @property
    def looks_at_stopped(self) -> bool:
        return bool({"status", "exited", "before", "since", "ancestor"} & self.by_key.keys())


def parse_filters(words: Sequence[str]) -> Filters:
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in FILTER_KEYS:
            keys = ", ".join(FILTER_KEYS)
            raise InvalidArgumentError(f"filter {word!r} is not KEY=VALUE with one of: {keys}")
        found[key] = (*found.get(key, ()), _checked(key, value))
    return Filters(by_key=found)


def _checked(key: str, value: str) -> str:
    match key:
        case "status":
            value = STATUS_WORDS.get(value, value)
            _one_of(key, value, tuple(BoxStatus))
        case "health":
            _one_of(key, value, tuple(HealthState))
        case "exited":
            parse_integer(value, what="filter exited")
    return value


def _one_of(key: str, value: str, words: Sequence[str]) -> None:
    if value not in words:
        raise InvalidArgumentError(f"filter {key}={value}: {key} is one of {', '.join(words)}")


def select(
    records: Sequence[Listed], filters: Filters, *, sort: str = "created", count: int | None = None
) -> list[Listed]:
    """Those that pass, sorted. `count` is taken from the newest, before sorting by anything else."""
    passing = [record for record in records if _passes(record, filters, records)]
    newest = sorted(passing, key=SORT_KEYS["created"])[:count]
    return sorted(newest, key=SORT_KEYS[sort.removeprefix("-")], reverse=sort.startswith("-"))


def _passes(record: Listed, filters: Filters, everything: Sequence[Listed]) -> bool:
    for key, values in filters.by_key.items():
        decide = all if key == "label" else any
        if not decide(_matches(record, key, value, everything) for value in values):
            return False
    return True


def _matches(record: Listed, key: str, value: str, everything: Sequence[Listed]) -> bool:
    match key:
        case "id":
            return record.id.startswith(value)
        case "name":
            return value in record.name
        case "status":
            return record.status == value
        case "health":
            return record.state.health == value
        case "exited":
            return record.status is BoxStatus.STOPPED and record.state.exit_code == int(value)
        case "label":
            name, equals, wanted = value.partition("=")
            return name in record.spec.labels and (not equals or record.spec.labels[name] == wanted)
        case "ancestor":
            return _is_image(record.spec.image or "", value)
        case "before":
            return record.created_at < _referred(everything, value).created_at
        case "since":
            return record.created_at > _referred(everything, value).created_at
    raise AssertionError(key)


def _is_image(image: str, wanted: str) -> bool:
    """`alpine` is an ancestor of boxes of any tag of it, `alpine:3.20` of boxes of that tag."""
    repository = image.partition("@")[0]
    last = repository.rpartition("/")[2]
    untagged = repository.removesuffix(":" + last.partition(":")[2]) if ":" in last else repository
    candidates = {image, repository, untagged}
    return wanted in candidates or any(name.endswith("/" + wanted) for name in candidates)


def _referred(everything: Sequence[Listed], ref: str) -> Listed:
    for record in everything:
        if ref in (record.name, record.id):
            return record
    found = [record for record in everything if record.id.startswith(ref)]
    if len(found) != 1:
        raise NotFoundError(f"no such box: {ref}")
    return found[0]
