"""How long-running work reports where it is, without printing anything."""

from __future__ import annotations

from collections.abc import Callable

from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of some work. `stage` is a short word ("pull", "layer", "base", "template", "guest-image", "start", or "note"
    for something worth knowing, "warning" for what must be seen, "debug" for what --debug
    shows); `item` names what (a digest, a shape); `total` None: not known. `message` is one line for
    people. The last step of a "layer" or a "pull" is the one whose `done` is its `total`."""

    stage: str
    item: str = ""
    done: int = 0
    total: int | None = None
    message: str = ""

    @property
    def is_last(self) -> bool:
        return self.total is not None and self.done >= self.total


ProgressSink = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """The sink of those who do not want to know."""
