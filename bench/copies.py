"""Measure `boxlite cp` beside `podman cp`, in turns: one large file and many small ones, both ways, and whose processor
time it took. See README.md for how to read the report."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from memory import children, role, tree
from run import Place, find_accel, make_place, run_command

MIB = 1024 * 1024
FILE_BYTES = 4096
BOX = "bench"
TICKS = os.sysconf("SC_CLK_TCK")
PARTIES = ("command", "shim", "machine's loop", "machine's processor")
Program = Callable[..., tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is copied. `amount` of `unit` are in it; `words` name it in a command, as its contents where it is a directory."""

    name: str
    path: Path
    amount: float
    unit: str

    @property
    def words(self) -> str:
        return f"{self.path}/." if self.path.is_dir() else str(self.path)


@dataclass(slots=True)
class Samples:
    """Of one program and one way: seconds of each round, and processor seconds by party."""

    seconds: list[float] = field(default_factory=list)
    used: list[Mapping[str, float]] = field(default_factory=list)


def make_tree(top: Path, files: int) -> Path:
    """`files` files of 4 KiB, a hundred in a directory."""
    for number in range(files):
        folder = top / f"{number // 100:04}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}").write_bytes(os.urandom(FILE_BYTES))
    return top


@contextlib.contextmanager
def containers(place: Place) -> Iterator[dict[str, Program]]:
    """A running box, and a running container where podman works, by the program that has it."""
    run_command(place.ours("pull", place.image))
    run_command(place.ours("run", "-d", "--name", BOX, place.image, "sleep", "36000"))
    programs: dict[str, Program] = {"boxlite": place.ours}
    if place.podman:
        run_command(place.podman.argv("run", "-d", "--name", BOX, place.image, "sleep", "36000"))
        programs["podman"] = place.podman.argv
    try:
        yield programs
    finally:
        run_command(place.ours("rm", "-f", BOX))


def machine_times(place: Place) -> dict[str, float]:
    """Processor seconds so far of the box's own processes (proc(5), stat): the loop of QEMU is its first thread."""
    done = subprocess.run(
        place.ours("inspect", BOX), capture_output=True, stdin=subprocess.DEVNULL, check=True
    )
    shim = json.loads(done.stdout)[0]["State"]["Pid"]
    found = dict.fromkeys(PARTIES[1:], 0.0)
    for pid in tree(shim, children()):
        for task in Path(f"/proc/{pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                fields = task.read_text().rpartition(")")[2].split()
                seconds = (int(fields[11]) + int(fields[12])) / TICKS
                if role(pid) != "QEMU":
                    found["shim"] += seconds
                else:
                    found[PARTIES[2] if task.parent.name == str(pid) else PARTIES[3]] += seconds
    return found


def timed(argv: tuple[str, ...], place: Place | None) -> tuple[float, dict[str, float]]:
    """Seconds a command takes, and whose processor time: the box's too where `place` is its home."""
    before = machine_times(place) if place else {}
    begun = time.perf_counter()
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)}\nended with status {process.returncode}: {said.strip()[-500:]}")
    after = machine_times(place) if place else {}
    used = {party: after[party] - before[party] for party in after}
    return taken, {PARTIES[0]: usage.ru_utime + usage.ru_stime, **used}


def copy_both_ways(program: Program, load: Load, place: Place | None, samples: Mapping[str, Samples]) -> None:
    """One round; what comes back is what went in."""
    back = load.path.with_name("back")
    run_command(program("exec", BOX, "mkdir", "/bench"))
    if load.path.is_dir():
        back.mkdir()
    inside = "/bench" if load.path.is_dir() else "/bench/file"
    taken_out = f"{BOX}:{inside}/." if load.path.is_dir() else f"{BOX}:{inside}"
    for way, words in (("in", (load.words, f"{BOX}:{inside}")), ("out", (taken_out, str(back)))):
        seconds, used = timed(program("cp", *words), place)
        samples[way].seconds.append(seconds)
        samples[way].used.append(used)
    subprocess.run(("diff", "-r", str(load.path), str(back)), check=True)
    shutil.rmtree(back) if back.is_dir() else back.unlink()
    run_command(program("exec", BOX, "rm", "-rf", "/bench"))


def report(load: Load, found: Mapping[str, Mapping[str, Samples]]) -> None:
    """Medians; beside podman's the ratio of the times (below 1 we are faster)."""
    print(f"\ncp of {load.name}")
    for way in ("in", "out"):
        theirs = statistics.median(found["podman"][way].seconds) if "podman" in found else None
        for name, samples in found.items():
            median = statistics.median(samples[way].seconds)
            beside = f"{median / theirs:6.2f} x podman" if theirs and name == "boxlite" else ""
            print(
                f"  {way:3} {name:8} {median:7.2f} s {load.amount / median:9.1f} {load.unit} "
                f"({load.amount / max(samples[way].seconds):.1f} … {load.amount / min(samples[way].seconds):.1f}) {beside}"
            )
            parts = {
                party: statistics.median(used[party] for used in samples[way].used)
                for party in samples[way].used[0]
            }
            print(
                "      processor: "
                + ", ".join(f"{party} {seconds:.2f} s" for party, seconds in parts.items())
            )


def measure(place: Place, loads: list[Load], rounds: int) -> None:
    with containers(place) as programs:
        for load in loads:
            found = {name: {"in": Samples(), "out": Samples()} for name in programs}
            for round_ in range(rounds):
                names = list(programs)
                for name in names if round_ % 2 else reversed(names):
                    copy_both_ways(programs[name], load, place if name == "boxlite" else None, found[name])
            report(load, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size-mib", type=int, default=256, help="the large file (default 256; 0: none)")
    parser.add_argument("--files", type=int, default=10000, help="files of 4 KiB (default 10,000; 0: none)")
    parser.add_argument("--rootfs", help="root file system of the image, tar or tar.gz (default: busybox)")
    parser.add_argument("--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"))
    options = parser.parse_args()
    with make_place(options) as place:
        loads = []
        if options.size_mib:
            large = place.directory / "large"
            large.write_bytes(os.urandom(options.size_mib * MIB))
            amount = options.size_mib * MIB / 1e6
            loads.append(Load(name=f"{options.size_mib} MiB", path=large, amount=amount, unit="MB/s"))
        if options.files:
            many = make_tree(place.directory / "many", options.files)
            loads.append(
                Load(name=f"{options.files} files of 4 KiB", path=many, amount=options.files, unit="files/s")
            )
        measure(place, loads, options.rounds)
        print(
            f"\nboxes ran on {find_accel(place)}; {options.rounds} rounds, in turns, each beginning with the other"
        )


if __name__ == "__main__":
    main()
