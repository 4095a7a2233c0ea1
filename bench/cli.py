"""How long a command takes before it does anything: medians beside `python -c pass`, in one run.

    .venv/bin/python bench/cli.py [--rounds N] [--boxes N] [--box NAME] [--json FILE]

With `--box`, also the completion of a path in that box, which runs in the home of whoever measures. Contenders take turns within each round. A limit is in milliseconds and a promise for a host that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.layout import Layout  # noqa: E402
from engine.model import BoxRecord, BoxSpec, BoxState, BoxStatus, utc_now  # noqa: E402
from engine.store import BoxStore  # noqa: E402


class Contender(NamedTuple):
    name: str
    words: tuple[str, ...]
    limit_ms: float | None


BOXLITE = (str(Path(sys.executable).with_name("boxlite")),)
CONTENDERS = (
    Contender("python -c pass", (sys.executable, "-c", "pass"), None),
    Contender("boxlite --version", (*BOXLITE, "--version"), 100),
    Contender("boxlite --help", (*BOXLITE, "--help"), 150),
    Contender("boxlite run --help", (*BOXLITE, "run", "--help"), None),
    Contender("boxlite ls", (*BOXLITE, "ls"), 200),
    Contender("completion of a box", (*BOXLITE, "__complete", "boxes", "b"), 80),
    Contender("completion of an image", (*BOXLITE, "__complete", "images", ""), 80),
)


async def fill(home: Path, boxes: int) -> None:
    """Put boxes on record that were never started."""
    async with BoxStore(Layout(home)) as store:
        for number in range(boxes):
            state = BoxState(status=BoxStatus.CONFIGURED, changed_at=utc_now())
            spec = BoxSpec(image="docker.io/library/alpine:3.20")
            await store.insert(
                BoxRecord(
                    id=f"bench{number:07}", name=f"box{number}", spec=spec, state=state, created_at=utc_now()
                )
            )


def path_completion(box: str) -> Contender:
    home = os.environ.get("BOXLITE_HOME") or str(Path.home() / ".boxlite")
    return Contender("completion of a path", (*BOXLITE, "__complete", "places", f"{box}:/etc/ho", home), 80)


def measure(
    contenders: Sequence[Contender], rounds: int, environment: dict[str, str]
) -> dict[str, list[float]]:
    """Milliseconds of each contender; the first round is not counted."""
    samples: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        for contender in contenders:
            begun = time.perf_counter()
            subprocess.run(contender.words, env=environment, stdout=subprocess.DEVNULL, check=True)
            if number:
                samples[contender.name].append((time.perf_counter() - begun) * 1000)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--box", help="a running box, for the completion of a path in it")
    parser.add_argument("--json", type=Path, help="also write the samples to this file")
    options = parser.parse_args()
    contenders = [*CONTENDERS, *([path_completion(options.box)] if options.box else [])]
    with tempfile.TemporaryDirectory(prefix="boxlite-bench-") as directory:
        home = Path(directory) / "home"
        asyncio.run(fill(home, options.boxes))
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        samples = measure(contenders, options.rounds, {**kept, "HOME": directory, "BOXLITE_HOME": str(home)})
    if options.json:
        options.json.write_text(json.dumps(samples, indent=2))
    base = statistics.median(samples[CONTENDERS[0].name])
    print(f"{'':24} {'median':>8} {'x python':>9} {'limit':>8}")
    kept_all = True
    for contender in contenders:
        median = statistics.median(samples[contender.name])
        limit = "-" if contender.limit_ms is None else f"{contender.limit_ms:.0f} ms"
        late = contender.limit_ms is not None and median > contender.limit_ms
        kept_all = kept_all and not late
        print(
            f"{contender.name:24} {median:5.0f} ms {median / base:9.1f} {limit:>8}{'  too slow' if late else ''}"
        )
    return 0 if kept_all else 1


if __name__ == "__main__":
    sys.exit(main())
