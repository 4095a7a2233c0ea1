"""What the Python library costs: import, first and later commands, a box from nothing, many at once, and what is left over.

    .venv/bin/python bench/library.py [--rounds N] [--boxes N] [--json FILE] IMAGE

IMAGE is in the store of the home. Limits are promises for a host that does
nothing else, under software emulation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import boxlite  # noqa: E402

LIMITS_MS = {"import": 60.0, "first exec": 80.0, "later exec": 50.0, "simple box": 1000.0}
AT_ONCE = 100
REPEATED = 1000
SETTLED_S = 1.0
"""How long a box has run before the first command that counts as that of a running box; `exec at once` follows its start
immediately."""
Figures = dict[str, float]


def import_ms(rounds: int, code: str) -> float:
    """Median of a Python that runs `code`, less one that runs nothing."""
    spent = {"pass": list[float](), code: list[float]()}
    for _ in range(rounds):
        for program, times in spent.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
            times.append((time.perf_counter() - begun) * 1000)
    empty, full = (statistics.median(times) for times in spent.values())
    return full - empty


async def timed_ms(work: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await work()
    return (time.perf_counter() - begun) * 1000


async def measure(options: boxlite.BoxOptions, rounds: int, boxes: int) -> Figures:
    figures: Figures = {}

    async def simple() -> None:
        async with boxlite.SimpleBox(options.image, memory_mib=options.memory_mib) as box:
            begun.append(time.perf_counter())
            await box.exec("true")
            begun.append(time.perf_counter())

    whole: list[float] = []
    for _ in range(rounds + 1):  # the first one may build what is kept
        begun = [time.perf_counter()]
        await simple()
        whole.append((begun[-1] - begun[0]) * 1000)
    figures["simple box"] = statistics.median(whole[1:])
    at_once, firsts, laters = [], [], []
    runtime = boxlite.Boxlite.default()
    for _ in range(rounds):
        async with await runtime.create(options) as box:
            at_once.append(await timed_ms(lambda: _run(box)))
        async with await runtime.create(options) as box:
            await asyncio.sleep(SETTLED_S)
            firsts.append(await timed_ms(lambda: _run(box)))
            laters += [await timed_ms(lambda: _run(box)) for _ in range(10)]
    figures["exec at once"] = statistics.median(at_once)
    figures["first exec"], figures["later exec"] = statistics.median(firsts), statistics.median(laters)
    async with await runtime.create(options) as box:
        figures[f"{AT_ONCE} at once"] = await timed_ms(
            lambda: asyncio.gather(*(_run(box) for _ in range(AT_ONCE)))
        )
        before = (len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks()))
        for _ in range(REPEATED):
            await _run(box)
        after = (len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks()))
    for name, was, now in zip(("descriptors", "threads", "tasks"), before, after, strict=True):
        figures[f"{name} before"], figures[f"{name} after"] = was, now
    if boxes:
        figures[f"{boxes} boxes"] = await timed_ms(
            lambda: asyncio.gather(*(_box_of_its_own(runtime, options) for _ in range(boxes)))
        )
    await runtime.shutdown()
    return figures


async def _run(box: boxlite.Box) -> None:
    async with await box.exec("true", stdin=False) as execution:
        assert (await execution.wait()).exit_code == 0


async def _box_of_its_own(runtime: boxlite.Boxlite, options: boxlite.BoxOptions) -> None:
    async with await runtime.create(options) as box:
        await _run(box)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--boxes", type=int, default=0, help="this many boxes at once, of 128 MiB each")
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    figures = {
        "import": import_ms(words.rounds * 3, "import boxlite"),
        "import of SimpleBox": import_ms(words.rounds * 3, "import boxlite; boxlite.SimpleBox"),
    }
    options = boxlite.BoxOptions(image=words.image, memory_mib=256)
    figures |= asyncio.run(measure(options, words.rounds, words.boxes))
    for name, value in figures.items():
        limit = LIMITS_MS.get(name)
        verdict = "" if limit is None else f"   limit {limit:g} ms: {'kept' if value <= limit else 'MISSED'}"
        print(f"{name:20} {value:10.1f}{verdict}")
    if words.json:
        words.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
