"""Kill commands, shims and machines at random moments, and look at what is left.

    python -m tests.framework.crash --kills 500 --seed 7

Every step takes a scenario (a command of boxlite on a home with some boxes in all states), lets it run for a random part
of the time it usually takes, kills one of its processes with SIGKILL, waits for the command and checks
`tests.framework.invariants`. A failure names the seed and the step: the same seed takes the same decisions again,
though not at the same microsecond.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from tests.framework.cli import Boxlite, make_home
from tests.framework.image_builder import build_image
from tests.framework.invariants import ACTIVE, Invariants
from tests.framework.processes import inheriting_orphans, processes_of, reap_orphans
from tests.framework.registry import RunningRegistry, start_registry

COMMAND_TIMEOUT_S = 60.0
MOST_RUNNING = 3
MOST_BOXES = 8
CLEAN_EVERY = 12
FRESH_RUN_EVERY = 4
IDLE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
VICTIMS = ("command", "command", "shim", "machine", "jail", "network", "all")
"""`all` is a power cut: every process of the home at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`words` are those of the command on the boxes there are; None where none of them fits."""

    name: str
    usual_s: float
    words: Callable[[Crasher], list[str] | None]
    has_machine: bool = False


@dataclass(slots=True)
class Crasher:
    """Does the steps of one seed on one home."""

    boxlite: Boxlite
    registry: RunningRegistry
    image: str
    seed: int
    verbose: bool = False
    kills: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    step: int = 0
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _usual_s: dict[str, float] = field(default_factory=dict)
    random: Random = field(init=False)
    invariants: Invariants = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.invariants = Invariants(self.boxlite)
        self._usual_s = {scenario.name: scenario.usual_s for scenario in SCENARIOS}

    def run(self, kills: int, *, most_s: float = float("inf")) -> list[str]:
        """Until so many have been killed or the time is over; what was found broken."""
        deadline = time.monotonic() + most_s
        while sum(self.kills.values()) < kills and time.monotonic() < deadline:
            self.step += 1
            self._one_step()
            if self.step % CLEAN_EVERY == 0:
                self._clean()
        self._clean()
        return self.broken

    def _one_step(self) -> None:
        self._rows = self.invariants.rows()
        scenario, words = self._choose()
        victim, which = self.random.choice(VICTIMS), self.random.random()
        if not scenario.has_machine:
            victim = "command" if which < 0.8 else "all"
        delay_s = self.random.uniform(0, self._usual_s[scenario.name] * 1.1)
        begun = time.monotonic()
        what = f"{scenario.name}, {victim} after {delay_s:.3f} s"
        with tempfile.TemporaryFile() as complaints:
            command = self.boxlite.popen(*words, stdout=subprocess.DEVNULL, stderr=complaints)
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(delay_s)
            killed = self._kill(victim, which, command)
            try:
                command.wait(COMMAND_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._report(f"{what}: the command hangs: {' '.join(words)}", evidence=True)
                command.kill()
                command.wait()
            complaints.seek(0)
            said = complaints.read()
        if killed is None:
            self._learn(scenario.name, time.monotonic() - begun)
        else:
            self.kills[killed] = self.kills.get(killed, 0) + 1
        if self.verbose:
            print(f"{self.step}: {what}, killed {killed}, status {command.returncode}", flush=True)
        for problem in self._problems():
            self._report(f"{what}: {problem}\n    {' '.join(words)}: {said.decode().strip()}")

    def _choose(self) -> tuple[Scenario, list[str]]:
        while True:
            scenario = self.random.choice(SCENARIOS)
            words = scenario.words(self)
            if words is not None:
                return scenario, words

    def _kill(self, victim: str, which: float, command: subprocess.Popen[bytes]) -> str | None:
        """Kill the victim; where there is none of its kind yet, the first one to come. What was killed, or None when the
        command ended before, or hangs."""
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while time.monotonic() < deadline:
            chosen = [one for one in processes_of(self.boxlite.home) if victim in ("all", one.role)]
            if victim == "command":
                chosen = [one for one in chosen if one.pid == command.pid]
            if victim == "all" and chosen:
                return victim if [one.kill() for one in chosen].count(True) else None
            if chosen and chosen[int(which * len(chosen))].kill():
                return victim
            if command.poll() is not None:
                return None
            time.sleep(0.001)
        return None

    def _learn(self, name: str, took_s: float) -> None:
        self._usual_s[name] = 0.7 * self._usual_s[name] + 0.3 * min(took_s, 10.0)

    def _problems(self) -> list[str]:
        reap_orphans({self.registry.process.pid})
        found = self.invariants.broken()
        if self.step % FRESH_RUN_EVERY == 0:
            done = self.boxlite("run", "--rm", self.image, "echo", "well")
            if done.stdout != b"well\n" or done.returncode != 0:
                found.append(f"a fresh run: status {done.returncode}, {done.stderr.decode().strip()}")
        return found

    def _clean(self) -> None:
        """Start one box that was killed, then remove every one: nothing may be left."""
        rows = self.invariants.rows()
        stopped = [row for row in rows if row["Status"] not in ACTIVE and row["Image"] == self.image]
        if stopped:
            row = self.random.choice(stopped)
            done = self.boxlite("start", row["Name"])
            if done.returncode != 0:
                self._report(f"start of {row['Name']} ({row['Status']}): {done.stderr.decode().strip()}")
        for row in rows:
            done = self.boxlite("rm", "-f", row["Id"])
            if done.returncode != 0 and b"no such box" not in done.stderr:
                self._report(f"rm -f {row['Name']}: {done.stderr.decode().strip()}")
        reap_orphans({self.registry.process.pid})
        for problem in self.invariants.broken():
            self._report(f"after removing every box: {problem}")
        left = [row["Name"] for row in self.invariants.rows()]
        if left:
            self._report(f"after removing every box: {', '.join(left)}")

    def _report(self, problem: str, *, evidence: bool = False) -> None:
        text = f"seed {self.seed}, step {self.step}: {problem}"
        if evidence:
            text += "".join(f"\n    {one}" for one in processes_of(self.boxlite.home))
        self.broken.append(text)
        print(text, file=sys.stderr, flush=True)

    # ------------------------------------------------------------ what the scenarios ask

    def name(self, *statuses: str) -> str | None:
        """The name of some box in one of these statuses."""
        names = [row["Name"] for row in self._rows if row["Status"] in statuses]
        return self.random.choice(names) if names else None

    @property
    def may_create(self) -> bool:
        return len(self._rows) < MOST_BOXES

    @property
    def may_start(self) -> bool:
        return sum(row["Status"] in ACTIVE for row in self._rows) < MOST_RUNNING

    def fresh_name(self) -> str:
        return f"box-{self.step}"

    def fresh_image(self) -> str:
        """A new image of three layers in the registry."""
        layers = [self.random.randbytes(600_000) for _ in range(3)]
        return self.registry.push("fresh", str(self.step), build_image([_layer(data) for data in layers]))


def _layer(content: bytes) -> bytes:
    from tests.framework.image_builder import file, layer_tar

    return layer_tar([file(f"data-{content[:4].hex()}", content)])


def _run(crasher: Crasher) -> list[str] | None:
    if not (crasher.may_create and crasher.may_start):
        return None
    return ["run", "--rm", "--name", crasher.fresh_name(), crasher.image, "sh", "-c", "seq 1000; sleep 0.1"]


def _run_detached(crasher: Crasher) -> list[str] | None:
    if not (crasher.may_create and crasher.may_start):
        return None
    flags = ["--rm"] if crasher.random.random() < 0.3 else []
    flags += ["-p", "80"] if crasher.random.random() < 0.5 else []  # then its network process starts with it
    return ["run", "-d", *flags, "--name", crasher.fresh_name(), crasher.image, *IDLE]


def _create(crasher: Crasher) -> list[str] | None:
    if not crasher.may_create:
        return None
    return ["create", "--name", crasher.fresh_name(), crasher.image, *IDLE]


def _start(crasher: Crasher) -> list[str] | None:
    name = crasher.name("configured", "stopped", "failed") if crasher.may_start else None
    return name and ["start", name]  # type: ignore[return-value]


def _stop(crasher: Crasher) -> list[str] | None:
    name = crasher.name(*ACTIVE)
    return name and ["stop", "-t", "1", name]  # type: ignore[return-value]


def _restart(crasher: Crasher) -> list[str] | None:
    name = crasher.name("running")
    return name and ["restart", "-t", "1", name]  # type: ignore[return-value]


def _rename(crasher: Crasher) -> list[str] | None:
    name = crasher.name("configured", "stopped", "running", "failed")
    return name and ["rename", name, f"renamed-{crasher.step}"]  # type: ignore[return-value]


def _remove(crasher: Crasher) -> list[str] | None:
    name = crasher.name("configured", "stopped", "failed")
    return name and ["rm", name]  # type: ignore[return-value]


def _remove_running(crasher: Crasher) -> list[str] | None:
    name = crasher.name(*ACTIVE)
    return name and ["rm", "-f", name]  # type: ignore[return-value]


def _exec(crasher: Crasher) -> list[str] | None:
    name = crasher.name("running")
    script = "head -c 300000 /dev/zero | tee /root/written; sync; sleep 0.1"
    return name and ["exec", name, "sh", "-c", script]  # type: ignore[return-value]


def _pull(crasher: Crasher) -> list[str] | None:
    return ["pull", "-q", crasher.fresh_image()]


def _create_from_fresh(crasher: Crasher) -> list[str] | None:
    if not crasher.may_create:
        return None
    return ["create", "--name", crasher.fresh_name(), crasher.fresh_image(), "/nonesuch"]


SCENARIOS = (
    Scenario(has_machine=True, name="run", usual_s=1.5, words=_run),
    Scenario(has_machine=True, name="run -d", usual_s=1.2, words=_run_detached),
    Scenario(name="create", usual_s=0.4, words=_create),
    Scenario(has_machine=True, name="start", usual_s=1.2, words=_start),
    Scenario(has_machine=True, name="stop", usual_s=0.6, words=_stop),
    Scenario(has_machine=True, name="restart", usual_s=1.8, words=_restart),
    Scenario(name="rename", usual_s=0.3, words=_rename),
    Scenario(name="rm", usual_s=0.3, words=_remove),
    Scenario(has_machine=True, name="rm -f", usual_s=0.6, words=_remove_running),
    Scenario(has_machine=True, name="exec", usual_s=0.8, words=_exec),
    Scenario(name="pull", usual_s=0.5, words=_pull),
    Scenario(name="create of a new image", usual_s=0.8, words=_create_from_fresh),
)


@contextlib.contextmanager
def crash_site(directory: Path, rootfs: Path) -> Iterator[tuple[Boxlite, RunningRegistry, str]]:
    """A home, a registry and an image in it."""
    registry = start_registry(directory / "registry")
    try:
        config = {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
        image = registry.push(
            "alpine", "3.20", build_image([gzip.decompress(rootfs.read_bytes())], config=config)
        )
        boxlite = Boxlite(make_home(directory / "home"))
        boxlite("run", "--rm", image, "true", check=True, timeout_s=300)
        try:
            with inheriting_orphans():
                yield boxlite, registry, image
        finally:
            boxlite.remove_all()
    finally:
        registry.stop()


def main() -> int:
    from tests.framework.home import ALPINE_NAME

    parser = argparse.ArgumentParser(description="Kill boxlite's processes and check what is left.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 31))
    parser.add_argument("--rootfs", type=Path, help="a root file system, tar.gz, with a busybox in it")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    rootfs = arguments.rootfs or Path(os.environ["BOXLITE_TEST_IMAGES"]) / ALPINE_NAME
    print(f"seed {arguments.seed}", flush=True)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="boxlite-crash-") as directory,
        crash_site(Path(directory), rootfs) as (boxlite, registry, image),
    ):
        crasher = Crasher(boxlite, registry, image, arguments.seed, arguments.verbose)
        broken = crasher.broken
        with contextlib.suppress(KeyboardInterrupt):  # what was done until then is said all the same
            crasher.run(arguments.kills)
    killed = ", ".join(f"{count} {who}" for who, count in sorted(crasher.kills.items()))
    print(
        f"seed {arguments.seed}: {sum(crasher.kills.values())} kills ({killed}) in {crasher.step} steps and "
        f"{time.monotonic() - begun:.0f} s, {len(broken)} broken invariants"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
