"""Commands that take several boxes: every one is tried, errors go to stderr, and one failure makes the status 1."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from boxlite_cli import failures
from boxlite_cli.results import Results
from engine.errors import BoxliteError

AT_ONCE = 4
Outcome = tuple[Sequence[str], Mapping[str, Any]]
"""What is said of one of them: lines, and the object for programs."""


async def for_each(
    refs: Sequence[str],
    act: Callable[[str], Awaitable[Outcome]],
    results: Results,
    *,
    at_once: int = AT_ONCE,
    debug: bool = False,
    as_json: bool = False,
) -> int:
    """Act on all of them, a few at a time, and print what `act` returns for each, in the order they were named."""
    turn = asyncio.Semaphore(at_once)

    async def one(ref: str) -> Outcome:
        async with turn:
            return await act(ref)

    tasks = [asyncio.ensure_future(one(ref)) for ref in refs]
    status = 0
    try:
        for task in tasks:
            try:
                results.add(*await task)
            except BoxliteError as error:
                failures.report(error, debug=debug, as_json=as_json)
                status = 1
        results.close()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return status
