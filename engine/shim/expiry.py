"""`python -m engine.shim.expiry HOME BOX_ID FINISHED_US AFTER_S`: removes a stopped box when its `--auto-delete` is due.

A process of its own, left behind by the box's shim, so that the shim's end is the end of the box for whoever waits for
it. It imports the database when it is due and not before; it goes away early when the box does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from engine.layout import BoxLayout, Layout

LOOK_INTERVAL_S = 20.0
"""How often it looks whether there is still something to remove."""


def main() -> int:
    home, box_id, finished_us, after_s = sys.argv[1:5]
    layout = Layout(Path(home))
    box = layout.box(box_id)
    due = int(finished_us) / 1e6 + float(after_s)
    while (left := due - time.time()) > 0:
        if not _is_stopped(box):
            return 0
        time.sleep(min(left, LOOK_INTERVAL_S))
    import asyncio

    from engine.shim.record import remove_expired

    asyncio.run(remove_expired(layout, box_id, int(finished_us)))
    return 0


def _is_stopped(box: BoxLayout) -> bool:
    """Is the box there, and without a shim?"""
    return box.root.exists() and not box.shim_socket.exists()


if __name__ == "__main__":
    raise SystemExit(main())
