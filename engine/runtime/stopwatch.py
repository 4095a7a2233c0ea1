"""How long the stages of a start take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.model import StageTimings


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds per stage, in the names of StageTimings. `failed` is the stage that an error ended."""

    begun: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        except BaseException:
            self.failed = name
            raise
        finally:
            self.stages[name] = round((time.monotonic() - begun) * 1000, 1)

    @property
    def timings(self) -> StageTimings:
        total = round((time.monotonic() - self.begun) * 1000, 1)
        return StageTimings(total_ms=total, **self.stages)
