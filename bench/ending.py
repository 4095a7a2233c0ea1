"""Measure what ends a box: `stop` of one whose main command handles SIGTERM, `rm` of a stopped one, whole commands.

See README.md for how to read the report.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from fixtures import make_rootfs
from run import find_boxlite, link_guest, run_command

IMAGE = "localhost/bench:latest"
POLITE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
LIMITS_S = {"stop": 0.5, "rm": 0.25}


def took(argv: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    run_command(argv)
    return time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--settle", type=float, default=1.0, help="seconds between the start and the stop")
    parser.add_argument(
        "--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"), help="home whose guest image is used"
    )
    options = parser.parse_args()
    samples: dict[str, list[float]] = {name: [] for name in LIMITS_S}
    with tempfile.TemporaryDirectory(prefix="boxlite-bench-") as directory:
        home = Path(directory) / "home"
        link_guest(Path(options.home).expanduser() / "guest", home)
        ours = (*find_boxlite(), "--home", str(home))
        run_command((*ours, "import", "-q", str(make_rootfs(Path(directory) / "rootfs.tar")), IMAGE))
        for number in range(options.rounds + 1):
            run_command((*ours, "run", "-d", "--name", "box", IMAGE, *POLITE))
            time.sleep(options.settle)
            stop, rm = took((*ours, "stop", "box")), took((*ours, "rm", "box"))
            if number:  # the first one finds nothing in the page cache
                samples["stop"].append(stop)
                samples["rm"].append(rm)
    kept = True
    for name, limit in LIMITS_S.items():
        median = statistics.median(samples[name])
        kept = kept and median <= limit
        print(
            f"{name:5} {median:.3f} s, from {min(samples[name]):.3f} to {max(samples[name]):.3f};"
            f" limit {limit} s: {'kept' if median <= limit else 'MISSED'}"
        )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
