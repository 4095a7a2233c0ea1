"""Several processes that meet a home without a database of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROUNDS, PROCESSES = 6, 6
OPEN = """
import asyncio, sys
from pathlib import Path
from engine.store.images_db import open_images_db
import aiosqlite

async def main():
    home, start = Path(sys.argv[1]), Path(sys.argv[2])
    print("ready", flush=True)
    while not start.exists():
        pass
    async with open_images_db(home / "db/images.db") as database:
        assert await database.rows() == []

asyncio.run(main())
"""


def test_images_db_opened_by_several_at_once_is_made_once(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        home, start = tmp_path / f"home{number}", tmp_path / f"start{number}"
        running = [
            subprocess.Popen(
                (sys.executable, "-c", OPEN, home, start),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3],
            )
            for _ in range(PROCESSES)
        ]  # fmt: skip
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        start.touch()
        said = [process.communicate(timeout=60) for process in running]
        assert [process.returncode for process in running] == [0] * PROCESSES, said
