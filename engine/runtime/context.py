"""What the parts of the runtime share: where things are, and who to tell."""

from __future__ import annotations

from dataclasses import dataclass

from engine.layout import Layout
from engine.model import RuntimeConfig
from engine.progress import ProgressSink
from engine.store import BoxStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    layout: Layout
    config: RuntimeConfig
    store: BoxStore
    progress: ProgressSink
