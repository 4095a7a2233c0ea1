"""What the parts of the runtime share: where things are, and who to tell."""

from __future__ import annotations

from dataclasses import field

from engine.layout import Layout
from engine.model import RuntimeConfig
from engine.progress import ProgressSink
from engine.store import BoxStore
from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`secret_values` are those that a program handed over, by box id and name: nobody else keeps them."""

    layout: Layout
    config: RuntimeConfig
    store: BoxStore
    progress: ProgressSink
    secret_values: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
