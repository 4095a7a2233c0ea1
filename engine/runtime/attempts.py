"""What is remembered of a start that failed: `failure.json` of the box, for `boxlite why`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, field
from datetime import datetime

from engine.errors import BoxliteError
from engine.fsutil import write_atomic
from engine.layout import BoxLayout
from engine.model import utc_now
from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStart:
    """A start that ended in the stage `stage`. `stages_ms` are those that were entered, in their order."""

    time: str
    stage: str
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    code: str
    message: str
    hint: str | None = None

    @property
    def happened_at(self) -> datetime:
        return datetime.fromisoformat(self.time)


def note_failure(box: BoxLayout, stages_ms: Mapping[str, float], stage: str, error: BoxliteError) -> None:
    """Write it down, if the box is still there: one with `--rm` is gone by now. A note that cannot be written is none."""
    failure = FailedStart(
        time=utc_now().isoformat(),
        stage=stage,
        stages_ms=dict(stages_ms),
        code=error.code,
        message=error.message,
        hint=error.hint,
    )
    if box.root.is_dir():
        with contextlib.suppress(OSError):
            write_atomic(box.failure_path, json.dumps(asdict(failure), indent=2).encode() + b"\n")


def find_failure(box: BoxLayout) -> FailedStart | None:
    """The last start that failed, or None."""
    try:
        document = json.loads(box.failure_path.read_bytes())
        failure = FailedStart(**document)
        _ = failure.happened_at
    except (OSError, ValueError, TypeError):
        return None
    return failure
