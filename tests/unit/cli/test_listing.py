"""Which boxes `ls` shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from boxlite_cli.listing import parse_filters, select
from engine.errors import InvalidArgumentError, NotFoundError
from engine.model import BoxRecord, BoxSpec, BoxState, BoxStatus

START = datetime(2025, 1, 1, tzinfo=UTC)


def box(
    number: int, name: str, image: str, status: BoxStatus, exit_code: int | None = None, **labels: str
) -> BoxRecord:
    return BoxRecord(
        id=f"{number:012d}",
        name=name,
        spec=BoxSpec(image=image, labels=labels),
        state=BoxState(status=status, changed_at=START, exit_code=exit_code),
        created_at=START + timedelta(hours=number),
    )


BOXES = [
    box(1, "db", "docker.io/library/postgres:16", BoxStatus.RUNNING, team="data"),
    box(2, "web", "host:5000/team/nginx:1.27", BoxStatus.STOPPED, 3, team="web", tier="front"),
    box(3, "webhook", "alpine", BoxStatus.CONFIGURED),
    box(4, "job", "docker.io/library/alpine:3.20", BoxStatus.STOPPED, 0, team="web"),
]


def chosen(*filters: str, sort: str = "created", count: int | None = None) -> list[str]:
    return [record.name for record in select(BOXES, parse_filters(filters), sort=sort, count=count)]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ((), ["job", "webhook", "web", "db"]),
        (("name=web",), ["webhook", "web"]),
        (("status=stopped",), ["job", "web"]),
        (("status=exited",), ["job", "web"]),
        (("status=running", "status=configured"), ["webhook", "db"]),
        (("label=team=web",), ["job", "web"]),
        (("label=team", "label=tier=front"), ["web"]),
        (("ancestor=alpine",), ["job", "webhook"]),
        (("ancestor=alpine:3.20",), ["job"]),
        (("ancestor=nginx",), ["web"]),
        (("ancestor=team/nginx:1.27",), ["web"]),
        (("ancestor=host:5000/team/nginx",), ["web"]),
        (("exited=3",), ["web"]),
        (("since=web",), ["job", "webhook"]),
        (("before=000000000002",), ["db"]),
        (("id=00000000000",), ["job", "webhook", "web", "db"]),
        (("health=none", "name=db"), ["db"]),
    ],
)
def test_filters_choose(filters: tuple[str, ...], names: list[str]) -> None:
    assert chosen(*filters) == names


def test_sort_and_count() -> None:
    assert chosen(sort="name") == ["db", "job", "web", "webhook"]
    assert chosen(sort="-name", count=2) == ["webhook", "job"]
    assert chosen(sort="-created") == ["db", "web", "webhook", "job"]


@pytest.mark.parametrize("word", ["name", "what=x", "status=gone", "exited=x", "health=fine"])
def test_filter_wrong_is_named(word: str) -> None:
    with pytest.raises(InvalidArgumentError, match="filter"):
        parse_filters([word])


def test_filter_by_a_box_that_is_not_there_is_an_error() -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        chosen("before=nobody")
