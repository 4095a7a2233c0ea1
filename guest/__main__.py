"""Process 1 of the machine. An agent that fails ends the machine: nobody waits for one that cannot answer."""

from __future__ import annotations

import asyncio
import resource

_OPEN_FILES_SOFT, _OPEN_FILES_HARD = 1024, 524288


def main() -> None:
    """Serve until the machine is switched off."""
    from guest.agent import serve

    # What the container inherits; the agent itself needs far fewer.
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES_SOFT, _OPEN_FILES_HARD))
    asyncio.run(serve())


if __name__ == "__main__":
    main()
