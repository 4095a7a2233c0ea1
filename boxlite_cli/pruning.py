"""What the commands that clean up have in common: which boxes a filter leaves, the question before, the sum after."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from boxlite_cli.failures import say
from boxlite_cli.humane import size_text
from boxlite_cli.results import Results
from boxlite_cli.times import parse_time
from engine.errors import InvalidArgumentError
from engine.model import BoxRecord, Reclaimable
from engine.values import dataclass

FILTER_KEYS = ("until", "label", "label!")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneFilter:
    """Boxes that stopped before `until`, with all of `labels` and none of `other_labels` (KEY or KEY=VALUE)."""

    until: datetime | None = None
    labels: tuple[str, ...] = ()
    other_labels: tuple[str, ...] = ()

    def passes(self, record: BoxRecord) -> bool:
        ended = record.state.finished_at or record.state.changed_at
        if self.until is not None and ended > self.until:
            return False
        has = [_has_label(record, wanted) for wanted in self.labels]
        return all(has) and not any(_has_label(record, wanted) for wanted in self.other_labels)


def _has_label(record: BoxRecord, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in record.spec.labels and (not equals or record.spec.labels[key] == value)


def parse_prune_filter(words: Sequence[str]) -> PruneFilter:
    """`until=24h`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`; all of them must hold."""
    until: datetime | None = None
    labels: dict[str, list[str]] = {"label": [], "label!": []}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in FILTER_KEYS:
            raise InvalidArgumentError(f"filter {word!r} is not until=TIME, label=KEY or label!=KEY")
        if key == "until":
            until = parse_time(value)
        else:
            labels[key].append(value)
    return PruneFilter(until=until, labels=tuple(labels["label"]), other_labels=tuple(labels["label!"]))


def confirmed(question: str, *, command: str) -> bool:
    """Ask before something is deleted. Raises InvalidArgumentError when there is nobody to ask."""
    if not sys.stdin.isatty():
        raise InvalidArgumentError(
            f"{command} asks before it removes, and there is nobody to ask", hint="add -f"
        )
    return typer.confirm(question, err=True)


def print_removed(
    results: Results,
    removed: Sequence[Mapping[str, Any]],
    freed_bytes: int,
    *,
    lines: Callable[[], None],
    dry_run: bool = False,
) -> None:
    """Tell what went, or with `dry_run` what would: as `lines` prints it, with the sum on stderr; or for programs, with a
    template a line for each."""
    if results.is_text:
        lines()
        say(f"{'would free' if dry_run else 'freed'} {size_text(freed_bytes)}")
    else:
        results.print_whole({"Removed": removed, "Freed": freed_bytes, "DryRun": dry_run}, removed)


def reclaimed(found: Sequence[Reclaimable]) -> list[dict[str, Any]]:
    return [{"Kind": item.kind, "Name": item.path, "Size": item.size_bytes} for item in found]
