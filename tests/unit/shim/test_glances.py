"""What an agent may answer when its directories are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from engine.errors import InvalidStateError
from engine.shim import glances
from engine.shim.glances import AT_ONCE, Glances
from guest.wire.constants import GLANCE_NAMES


async def answered(*events: Mapping[str, object], directory: str = "/etc") -> list[str]:
    """What a glance finds whose question (number 1) is answered so."""
    told: list[Mapping[str, object]] = []
    watched = Glances(told.append)
    glance = asyncio.create_task(watched.names(directory, "ho"))
    await asyncio.sleep(0)
    assert told == [{"op": "glance", "number": 1, "directory": directory, "beginning": "ho"}]
    for event in events:
        watched.take(event)
    return await glance


async def test_glance_gathers_the_names_of_all_events() -> None:
    first = {"number": 1, "names": ["hosts", "hold/"]}
    assert await answered(first, {"number": 1, "names": ["home"], "end": True}) == ["hosts", "hold/", "home"]


async def test_glance_ignores_what_was_not_asked_and_what_is_no_name() -> None:
    lies: list[Mapping[str, object]] = [
        {"number": 2, "names": ["x"], "end": True},
        {"number": "1", "names": ["x"], "end": True},
        {"number": [1], "names": ["x"]},
        {"names": ["x"]},
        {"number": 1, "names": "hosts"},
        {"number": 1, "names": [1, None, "", "n" * 300, ["x"]], "end": "yes"},
        {"number": 1},
    ]
    assert await answered(*lies, {"number": 1, "names": ["hosts"], "end": True}) == ["hosts"]


async def test_glance_takes_no_more_names_than_anybody_reads() -> None:
    flood = [{"number": 1, "names": [f"host{number}-{line}" for number in range(100)]} for line in range(50)]
    found = await answered(*flood, {"number": 1, "names": [], "end": True})
    assert len(found) == GLANCE_NAMES


async def test_glance_at_a_silent_agent_ends_with_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glances, "PATIENCE_S", 0.05)
    assert await answered({"number": 1, "names": ["hosts"]}) == ["hosts"]


async def test_glances_beyond_the_limit_are_refused_and_answered_ones_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(glances, "PATIENCE_S", 0.05)
    watched = Glances(lambda _: None)
    waiting = [asyncio.create_task(watched.names("/", "")) for _ in range(AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(InvalidStateError):
        await watched.names("/", "")
    assert await asyncio.gather(*waiting) == [[]] * AT_ONCE
    assert await watched.names("/", "") == []
