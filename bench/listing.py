"""Measure `ls` with one stopped box and with a thousand of them, no two alike.

Every box of the large home has a directory, labels, an environment and an end of its own, as boxes have that people made;
`run.py` has the same comparison with copies of one. See README.md for how to read the report.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fixtures import make_rootfs
from run import find_boxlite, link_guest, run_command

IMAGE = "localhost/bench:latest"
COMMANDS = (("ls", "-a"), ("ls", "-aq"), ("ls", "-a", "--format", "json"), ("ls",))
LIMITS = {("ls", "-a"): 1.3, ("ls",): 1.2}


def make_homes(directory: Path, guest: Path, boxlite: tuple[str, ...], count: int) -> tuple[Path, Path]:
    """Two homes: one with a box that ran and ended, one with `count` of them."""
    one, many = directory / "home-1", directory / f"home-{count}"
    link_guest(guest, one)
    ours = (*boxlite, "--home", str(one))
    run_command((*ours, "import", "-q", str(make_rootfs(directory / "rootfs.tar")), IMAGE))
    run_command((*ours, "run", "--name", "box", "-l", "number=0", "-e", "NUMBER=0", IMAGE, "true"))
    shutil.copytree(one, many, symlinks=True, ignore=shutil.ignore_patterns("templates", "disk.qcow2"))
    multiply(many, count)
    return one, many


def multiply(home: Path, count: int) -> None:
    """Make `count` different boxes of the one there is."""
    with contextlib.closing(sqlite3.connect(home / "db" / "boxes.db")) as database, database:
        row = database.execute("SELECT created_us, manifest_digest, config_digest, spec, state FROM boxes")
        created_us, manifest, config, spec_text, state_text = row.fetchone()
        spec, state = json.loads(spec_text), json.loads(state_text)
        for number in range(1, count):
            box_id = f"{number:012d}"
            spec["labels"] = {"number": str(number), "team": f"team-{number % 7}"}
            spec["env"] = [["NUMBER", str(number)]]
            spec["cmd"] = ["sh", "-c", f"exit {number % 3}"]
            state["exit_code"] = number % 3
            database.execute(
                "INSERT INTO boxes (id, name, created_us, manifest_digest, config_digest, spec, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (box_id, f"box-{number}", created_us + number, manifest, config, json.dumps(spec), json.dumps(state)),
            )  # fmt: skip
            (home / "boxes" / box_id).mkdir(mode=0o700)


def took(argv: tuple[str, ...]) -> tuple[float, float]:
    """Milliseconds on the clock, and of processor time, which a busy host changes less."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    clock = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock * 1000, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"), help="home whose guest image is used"
    )
    options = parser.parse_args()
    boxlite, kept = find_boxlite(), True
    with tempfile.TemporaryDirectory(prefix="boxlite-bench-") as directory:
        guest = Path(options.home).expanduser() / "guest"
        homes = make_homes(Path(directory), guest, boxlite, options.boxes)
        print(
            f"milliseconds (median of {options.rounds}), 1 box and {options.boxes}; ratio on the clock, of processor time"
        )
        for words in COMMANDS:
            samples: list[list[tuple[float, float]]] = [[], []]
            for number in range(options.rounds + 1):
                for which in (0, 1) if number % 2 else (1, 0):
                    sample = took((*boxlite, "--home", str(homes[which]), *words))
                    if number:
                        samples[which].append(sample)
            (one, one_cpu), (many, many_cpu) = (
                [statistics.median(column) for column in zip(*side, strict=True)] for side in samples
            )
            limit = LIMITS.get(words)
            verdict = (
                "" if limit is None else f"   limit {limit}: {'kept' if many / one <= limit else 'MISSED'}"
            )
            kept = kept and (limit is None or many / one <= limit)
            print(
                f"{' '.join(words):24} {one:7.1f} {many:7.1f}   x {many / one:.2f}, x {many_cpu / one_cpu:.2f}{verdict}"
            )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
