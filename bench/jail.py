"""What the jail costs, in turns with doing without it, in one run.

    .venv/bin/python bench/jail.py [--starts 100] [--runs 10] [--json FILE]

starts    from starting a program in QEMU's own jail (bubblewrap, all grants, the gate with its 200 system calls, Landlock,
          seccomp) to its first byte of output, against bubblewrap without the rest, and against the program alone: `echo`
making    what the shim does before: grants, files handed over, the gate made, in this process
runs      `boxlite run --rm IMAGE true` with `--security enabled` and with `--security disabled`; neither has a head start

The first two are a machine's share of a start that waits for it; with a head start they pass beside the starter's own work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engine import host  # noqa: E402
from engine.jailer.bubblewrap import wrap  # noqa: E402
from engine.jailer.grants import run as program  # noqa: E402
from engine.jailer.room import make_gate  # noqa: E402
from engine.model import SecurityOptions  # noqa: E402
from engine.process import Command  # noqa: E402
from engine.vmm.confinement import claim_identity, machine_jail  # noqa: E402
from engine.vmm.machine import prepared  # noqa: E402
from tests.framework.attack_stage import make_home  # noqa: E402

ECHO = "/usr/bin/echo"
RESAMPLES = 2000


def timed_ms(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return (time.perf_counter() - begun) * 1000


def first_byte_ms(argv: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    with subprocess.Popen(
        argv, env={"PATH": os.defpath}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        took = (time.perf_counter() - begun) * 1000
    assert process.returncode == 0, argv
    return took


async def measure_starts(count: int, directory: Path) -> dict[str, list[float]]:
    home = directory / "home"
    home.mkdir()
    spec, security = make_home(home), SecurityOptions()
    claim = claim_identity(security)
    identity = None if claim is None else claim.identity

    def jail_for_machine() -> object:
        return machine_jail(spec, security, host.qemu_binary(), identity=identity)

    jail = machine_jail(spec, security, host.qemu_binary(), identity=identity)
    jail = replace(jail, grants=(*jail.grants, program(ECHO)))
    times: dict[str, list[float]] = {"alone": [], "bubblewrap": [], "jailed": [], "making": []}
    gate = Path(f"{spec.share_path}.gate")
    async with prepared(spec, jail, home):
        gate.chmod(0o700)
        gate.write_bytes(make_gate(ECHO, jail, home / "jail"))
        jailed = wrap(Command(argv=(ECHO,)), jail, gate=str(gate)).argv
        bare = wrap(Command(argv=(ECHO,)), replace(jail, identity=None)).argv
        for _ in range(count):
            for name, argv in (("alone", (ECHO,)), ("bubblewrap", bare), ("jailed", jailed)):
                times[name].append(first_byte_ms(argv))
            begun = time.perf_counter()
            jail_for_machine()
            make_gate(ECHO, jail, home / "jail")
            times["making"].append((time.perf_counter() - begun) * 1000)
    return times


def measure_runs(count: int, image: str) -> dict[str, list[float]]:
    """Either goes first as often as the other: what a run leaves to the kernel to clear away falls into the next one's time."""
    boxlite = (sys.executable, "-m", "boxlite_cli")
    times: dict[str, list[float]] = {"enabled": [], "disabled": []}
    for number in range(count + 1):
        for security in sorted(times, reverse=number % 2 == 0):
            argv = (*boxlite, "run", "--rm", "--security", security, image, "true")
            took = timed_ms(lambda argv=argv: subprocess.run(argv, check=True, stdin=subprocess.DEVNULL))  # type: ignore[misc]
            if number:  # the first warms up
                times[security].append(took)
    return times


def print_difference(times: dict[str, list[float]]) -> None:
    """Of the medians, and the median of the pairs' differences with the middle half of what chance makes of it (bootstrap)."""
    differences = [jailed - bare for jailed, bare in zip(times["enabled"], times["disabled"], strict=True)]
    of_medians = statistics.median(times["enabled"]) - statistics.median(times["disabled"])
    chance = random.Random(1)
    drawn = sorted(
        statistics.median(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES)
    )
    low, high = drawn[RESAMPLES // 4], drawn[3 * RESAMPLES // 4]
    print(
        f"of a run: {of_medians:.1f} ms between the medians, {statistics.median(differences):.1f} ms between the runs of a"
        f" pair (half of all samples: {low:.1f} to {high:.1f})"
    )


def row(name: str, times: list[float]) -> str:
    return f"{name:24}{min(times):9.1f}{statistics.median(times):9.1f}{max(times):9.1f}   n={len(times)}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--image", default="localhost/alpine")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boxlite-bench-") as directory:
        times = asyncio.run(measure_starts(options.starts, Path(directory)))
    if options.runs:
        times |= measure_runs(options.runs, options.image)
    print(f"{'ms':24}{'least':>9}{'median':>9}{'most':>9}")
    for name, found in times.items():
        print(row(name, found))
    middle = {name: statistics.median(found) for name, found in times.items()}
    print(
        f"the jail: {middle['jailed'] - middle['alone']:.1f} ms to start, {middle['making']:.1f} ms to make"
    )
    if options.runs:
        print_difference(times)
    if options.json:
        options.json.write_text(json.dumps(times))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
