"""The files in a directory of a running box, for a shell that completes `boxlite cp web:/va…`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.errors import BoxliteError
from engine.model import ExecSpec

PATIENCE_S = 2.0
_LIST = ("ls", "-1ap", "--")


def paths_in_box(home: str, box: str, path: str) -> list[str]:
    """What the path may go on as: whole paths, directories with a slash at the end. Empty for a box that does not run."""
    directory, slash, beginning = path.rpartition("/")
    try:
        names = asyncio.run(_names(home, box, directory + "/"))
    except (BoxliteError, TimeoutError):
        return []
    return [
        f"{directory}{slash or '/'}{name}"
        for name in names
        if name not in ("./", "../")
        and name.startswith(beginning)
        and (beginning or not name.startswith("."))
        and name.isprintable()
    ]


async def _names(home: str, box: str, directory: str) -> list[str]:
    from engine.runtime import Runtime

    output = b""
    async with asyncio.timeout(PATIENCE_S), Runtime(Path(home).absolute()) as runtime:
        record = await runtime.find(box)
        if record is None or not record.status.is_running:
            return []
        async with runtime.exec(
            record.id, ExecSpec(argv=(*_LIST, directory), timeout_s=PATIENCE_S)
        ) as execution:
            async for chunk in execution.stdout:
                output += chunk
            await execution.wait()
    return output.decode("utf-8", "replace").splitlines()
