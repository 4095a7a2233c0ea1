"""What a process of its own does to a store: `python -m tests.framework.store_worker HOME VERB …`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.errors import BoxliteError
from engine.layout import Layout
from engine.model import BoxStatus
from engine.store import BoxStore
from tests.framework.records import make_record


async def work(home: Path, verb: str, *words: str) -> None:
    async with BoxStore(Layout(home)) as store:
        match verb:
            case "insert":
                await store.insert(make_record(words[0]))
            case "insert-many":
                for number in range(int(words[1])):
                    await store.insert(make_record(f"{words[0]}-{number}"))
                    print(number, flush=True)
            case "start":
                box = await store.resolve(words[0])
                await store.transition(
                    box.id, BoxStatus.RUNNING, reason="started", expect={BoxStatus.CONFIGURED}
                )
            case "hold-a-transaction":
                async with store._database.writing() as connection:
                    await connection.execute("DELETE FROM boxes")
                    print("holding", flush=True)
                    await asyncio.Event().wait()


def main() -> int:
    try:
        asyncio.run(work(Path(sys.argv[1]), *sys.argv[2:]))
    except BoxliteError as error:
        print(f"{type(error).__name__}: {error}\n{error.hint}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
