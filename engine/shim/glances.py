"""What a running box's directories hold, asked of its agent over the events port while somebody types a path.

What comes back is a stranger's: it is bounded in size, and whatever is not a name is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from engine.errors import InvalidStateError
from guest.wire.constants import GLANCE_NAMES

PATIENCE_S = 1.0
AT_ONCE = 8
_NAME_MAX = 256
"""The longest name of a file (limits.h), and a slash."""


class Glances:
    """The questions of one run that are not yet answered."""

    def __init__(self, tell_agent: Callable[[Mapping[str, object]], None]) -> None:
        self._tell_agent = tell_agent
        self._asked: dict[int, _Question] = {}
        self._number = 0

    async def names(self, directory: str, beginning: str) -> list[str]:
        """The names in the directory that begin so, a directory's with a slash, in no order; what came until the agent took
        too long. Raises InvalidStateError when too many are asking."""
        if len(self._asked) >= AT_ONCE:
            raise InvalidStateError("too many are looking at its files at once")
        self._number += 1
        number, question = self._number, _Question()
        self._asked[number] = question
        self._tell_agent({"op": "glance", "number": number, "directory": directory, "beginning": beginning})
        try:
            await asyncio.wait_for(question.answered.wait(), PATIENCE_S)
        except TimeoutError:
            pass
        finally:
            del self._asked[number]
        return question.names

    def take(self, event: Mapping[str, object]) -> None:
        """An event `names` of the agent's."""
        question = self._asked.get(number) if isinstance(number := event.get("number"), int) else None
        if question is None:
            return
        found = event.get("names")
        for name in found if isinstance(found, list) else []:
            if isinstance(name, str) and 0 < len(name) <= _NAME_MAX and len(question.names) < GLANCE_NAMES:
                question.names.append(name)
        if event.get("end") is True:
            question.answered.set()


class _Question:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.answered = asyncio.Event()
