"""What the parts of the runtime share: where things are, and who to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING

from engine.layout import Layout
from engine.model import RuntimeConfig
from engine.progress import ProgressSink
from engine.values import dataclass

if TYPE_CHECKING:
    from engine.store import BoxStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`secret_values` are those that a program handed over, by box id and name: nobody else keeps them. `boxes` gives the one
    store there is: it is loaded when somebody asks for boxes, and a pull does not."""

    layout: Layout
    config: RuntimeConfig
    boxes: Callable[[], BoxStore]
    progress: ProgressSink
    secret_values: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)

    @property
    def store(self) -> BoxStore:
        return self.boxes()
