"""Finding saved machines. Making them is in `template`, which few commands need."""

from __future__ import annotations

import contextlib
import json
import os

from engine.layout import Layout
from engine.vmm.spec import Shape, Template


def find_template(layout: Layout, shape: Shape) -> Template | None:
    """The saved machine of this shape, or None when there is none that is whole."""
    directory = layout.templates_dir / shape.key
    try:
        document = json.loads((directory / "template.json").read_bytes())
        state, memory = directory / "state", directory / "memory"
        whole = (
            state.stat().st_size == document["state_bytes"]
            and memory.stat().st_size == document["memory_bytes"]
        )
    except (OSError, ValueError, KeyError):
        return None
    if not whole:
        return None
    with contextlib.suppress(OSError):
        os.utime(directory)  # least recently used ones go first
    return Template(key=shape.key, memory_path=str(memory), state_path=str(state))
