"""The files in a directory of a running box, for a shell that completes `boxlite cp web:/va…`."""

from __future__ import annotations

from engine.portal.glance import glance_directory
from engine.store.glance import glance_running_box

PATIENCE_S = 1.0


def paths_in_box(home: str, box: str, path: str) -> list[str]:
    """What the path may go on as: whole paths, directories with a slash at the end. Empty for a box that does not run."""
    box_id = glance_running_box(home, box)
    if box_id is None:
        return []
    directory, slash, beginning = path.rpartition("/")
    names = glance_directory(
        f"{home}/boxes/{box_id}/sockets/shim.sock", f"{directory}/", beginning, patience_s=PATIENCE_S
    )
    fitting = sorted(
        name
        for name in names
        if name.startswith(beginning) and (beginning or not name.startswith(".")) and name.isprintable()
    )
    return [f"{directory}{slash or '/'}{name}" for name in fitting]
