"""Measure our command beside its peers, in turns, in one run. See README.md for how to read the report."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures import Podman, busybox_initramfs, make_rootfs, push_image, registry

COMPARISONS = ("version", "ls", "ls-all", "run", "exec", "pull")
MACHINES = {
    "x86_64": ("-machine", "microvm,acpi=off,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off"),
    "aarch64": ("-machine", "virt,gic-version=max"),
}
CONSOLES = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
COMMAND_TIMEOUT_S = 300


def nothing() -> None:
    """The preparation of a contender that needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command line (or several in a row), measured from start to end. `prepare` runs before, unmeasured."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    prepare: Callable[[], None] = nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Contenders, ours first. `limits` are the most that our median may be, as a multiple of another's."""

    name: str
    contenders: tuple[Contender, ...]
    limits: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run of the benchmark happens: our program, its temporary home, the image, and who else is there."""

    boxlite: tuple[str, ...]
    home: Path
    image: str
    podman: Podman | None
    directory: Path

    def ours(self, *words: str, home: Path | None = None) -> tuple[str, ...]:
        return (*self.boxlite, "--home", str(home or self.home), *words)


def as_installed() -> dict[str, str]:
    """Our environment, in which Python keeps what it compiled: an installed program has it, and without it would take twice
    as long to load."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run_command(argv: Sequence[str]) -> None:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIMEOUT_S, env=as_installed()
    )
    if done.returncode != 0:
        tail = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise SystemExit(f"{' '.join(argv)}\nended with status {done.returncode}: {tail}")


def measure(comparison: Comparison, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contender per round. They take turns; each round another begins; round 0 is not counted."""
    samples: dict[str, list[float]] = {contender.name: [] for contender in comparison.contenders}
    for number in range(rounds + 1):
        first = number % len(comparison.contenders)
        for contender in (*comparison.contenders[first:], *comparison.contenders[:first]):
            contender.prepare()
            start = time.perf_counter()
            for argv in contender.commands:
                run_command(argv)
            if number:
                samples[contender.name].append((time.perf_counter() - start) * 1000)
    return samples


def python_contender() -> Contender:
    return Contender(name="python -c pass", commands=((sys.executable, "-c", "pass"),))


@contextlib.contextmanager
def compare_version(place: Place) -> Iterator[Comparison]:
    ours = Contender(name="boxlite", commands=((*place.boxlite, "--version"),))
    yield Comparison(
        name="boxlite --version", contenders=(ours, python_contender()), limits={"python -c pass": 8}
    )


@contextlib.contextmanager
def compare_ls(place: Place) -> Iterator[Comparison]:
    one, many = homes_with_boxes(place)
    yield Comparison(
        name="boxlite ls",
        contenders=(
            Contender(name="1,000 boxes", commands=(place.ours("ls", home=many),)),
            Contender(name="1 box", commands=(place.ours("ls", home=one),)),
            python_contender(),
        ),
        limits={"1 box": 1.2},
    )


@contextlib.contextmanager
def compare_ls_all(place: Place) -> Iterator[Comparison]:
    one, many = homes_with_boxes(place)
    yield Comparison(
        name="boxlite ls -a",
        contenders=(
            Contender(name="1,000 boxes", commands=(place.ours("ls", "-a", home=many),)),
            Contender(name="1 box", commands=(place.ours("ls", "-a", home=one),)),
        ),
        limits={"1 box": 1.3},
    )


def homes_with_boxes(place: Place) -> tuple[Path, Path]:
    """Two homes: one with a box that was never started, one with a thousand of them."""
    one, many = place.directory / "home-1", place.directory / "home-1000"
    if not one.exists():
        link_guest(place.home / "guest", one)
        run_command(place.ours("pull", place.image, home=one))
        run_command(place.ours("create", "--name", "box", place.image, home=one))
        run_command(("cp", "-a", "--sparse=always", str(one), str(many)))
        multiply_boxes(many / "db" / "boxes.db", 1000)
    return one, many


def multiply_boxes(database: Path, count: int) -> None:
    """Copy the only row of the table of boxes until there are `count`."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(boxes)")]
        copied = [name for name in names if name not in ("sequence", "id", "name")]
        columns = ", ".join(copied)
        connection.executemany(
            f"INSERT INTO boxes (id, name, {columns}) SELECT ?, ?, {columns} FROM boxes WHERE name = 'box'",
            ((f"{number:012d}", f"box-{number}") for number in range(1, count)),
        )


@contextlib.contextmanager
def compare_run(place: Place) -> Iterator[Comparison]:
    run_command(place.ours("pull", place.image))
    run_command(place.ours("run", "--rm", place.image, "true"))
    contenders = [Contender(name="boxlite", commands=(place.ours("run", "--rm", place.image, "true"),))]
    if place.podman:
        contenders.append(
            Contender(name="podman", commands=(place.podman.argv("run", "--rm", place.image, "true"),))
        )
    contenders.append(Contender(name="plain qemu", commands=(plain_qemu(place),)))
    yield Comparison(
        name="run --rm IMAGE true", contenders=tuple(contenders), limits={"podman": 2, "plain qemu": 1 / 3}
    )


@contextlib.contextmanager
def compare_exec(place: Place) -> Iterator[Comparison]:
    run_command(place.ours("pull", place.image))
    run_command(place.ours("run", "-d", "--name", "bench", place.image, "sleep", "3600"))
    contenders = [Contender(name="boxlite", commands=(place.ours("exec", "bench", "true"),))]
    if place.podman:
        run_command(place.podman.argv("run", "-d", "--name", "bench", place.image, "sleep", "3600"))
        contenders.append(Contender(name="podman", commands=(place.podman.argv("exec", "bench", "true"),)))
    try:
        yield Comparison(name="exec BOX true", contenders=tuple(contenders), limits={"podman": 2})
    finally:
        run_command(place.ours("rm", "-f", "bench"))


@contextlib.contextmanager
def compare_pull(place: Place) -> Iterator[Comparison]:
    """From nothing to the end of a first run: we make the disk when a box first starts, podman when it pulls."""
    run_command(place.ours("run", "--rm", place.image, "true"))
    home = place.directory / "pull-home"

    def empty_home() -> None:
        if home.exists():
            shutil.rmtree(home)
        link_guest(place.home / "guest", home)
        (home / "templates").symlink_to(place.home / "templates")

    contenders = [
        Contender(
            name="boxlite",
            commands=(
                place.ours("pull", place.image, home=home),
                place.ours("run", "--rm", place.image, "true", home=home),
            ),
            prepare=empty_home,
        )
    ]
    if place.podman:
        podman = place.podman
        contenders.append(
            Contender(
                name="podman",
                commands=(
                    podman.argv("pull", "--tls-verify=false", place.image),
                    podman.argv("run", "--rm", place.image, "true"),
                ),
                prepare=lambda: run_command(podman.argv("rmi", "--all", "--force")),
            )
        )
    yield Comparison(
        name="pull and run for the first time", contenders=tuple(contenders), limits={"podman": 1}
    )


def plain_qemu(place: Place) -> tuple[str, ...]:
    """A bare boot of the guest's own kernel, on the accelerator that boxes get here (known once one has run)."""
    accel = find_accel(place)
    guest = place.home / "guest"
    kernel = guest / (guest / "current").read_text().strip() / "vmlinuz"
    arch = "aarch64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"
    return (
        f"qemu-system-{arch}", *MACHINES[arch], "-accel", accel,
        "-cpu", "max" if accel == "tcg" else "host", "-m", "512M", "-nodefaults", "-no-user-config",
        "-no-reboot", "-display", "none", "-serial", "null", "-kernel", str(kernel),
        "-initrd", str(busybox_initramfs(place.directory / "initramfs")),
        "-append", f"console={CONSOLES[arch]} reboot=t panic=-1 quiet rdinit=/init",
    )  # fmt: skip


def link_guest(guest: Path, home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "guest").symlink_to(guest.resolve())


STAGES: dict[str, Callable[[Place], contextlib.AbstractContextManager[Comparison]]] = {
    "version": compare_version,
    "ls": compare_ls,
    "ls-all": compare_ls_all,
    "run": compare_run,
    "exec": compare_exec,
    "pull": compare_pull,
}


def report(comparison: Comparison, samples: dict[str, list[float]]) -> dict[str, object]:
    """Print one comparison and return it for the JSON file."""
    ours = statistics.median(samples[comparison.contenders[0].name])
    print(f"\n{comparison.name}")
    print(f"  {'':16} {'median':>10} {'spread':>21} {'ratio':>10}")
    rows = []
    for name, times in samples.items():
        median = statistics.median(times)
        low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else (median, median, median)
        ratio = ours / median
        limit = comparison.limits.get(name)
        verdict = "" if limit is None else f"  limit {limit:.2f}: {'kept' if ratio <= limit else 'MISSED'}"
        beside = "" if median is ours else f"{ratio:7.2f} x"
        print(f"  {name:16} {median:7.1f} ms {low:9.1f}..{high:7.1f} ms {beside:>9}{verdict}")
        rows.append(
            {"name": name, "median_ms": median, "p25_ms": low, "p75_ms": high, "ratio": ratio, "limit": limit,
             "samples_ms": times}
        )  # fmt: skip
    return {"comparison": comparison.name, "contenders": rows}


def find_boxlite() -> tuple[str, ...]:
    beside = Path(sys.executable).with_name("boxlite")
    found = str(beside) if beside.exists() else shutil.which("boxlite")
    if found is None:
        raise SystemExit("boxlite is not installed: run scripts/quickstart first")
    return (found,)


def find_accel(place: Place) -> str:
    """The accelerator that boxes of this home run on."""
    done = subprocess.run(
        place.ours("info", "--format", "json"), capture_output=True, stdin=subprocess.DEVNULL
    )
    try:
        found = json.loads(done.stdout)
        return str(next(found[key] for key in ("accel", "Accel") if key in found))
    except (ValueError, StopIteration, TypeError):
        raise SystemExit(f"boxlite info does not name the accelerator: {done.stderr.decode()}") from None


@contextlib.contextmanager
def make_place(options: argparse.Namespace) -> Iterator[Place]:
    boxlite = find_boxlite()
    guest = Path(options.home).expanduser() / "guest"
    if not (guest / "current").exists():
        raise SystemExit(
            f"there is no guest image in {guest}: run scripts/quickstart, or name its home with --home"
        )
    if shutil.which("docker-registry") is None:
        raise SystemExit("docker-registry is not installed: scripts/test installs it")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="boxlite-bench-")))
        home = directory / "home"
        link_guest(guest, home)
        stack.callback(remove_boxes, boxlite, home)
        address = stack.enter_context(registry(directory))
        rootfs = Path(options.rootfs) if options.rootfs else make_rootfs(directory / "rootfs.tar")
        image = push_image(address, rootfs)
        podman = Podman(directory / "podman")
        stack.callback(podman.close)
        problem = podman.problem(image)
        if problem:
            print(f"note: {problem}; comparisons with it are skipped")
        yield Place(
            boxlite=boxlite,
            home=home,
            image=image,
            podman=None if problem else podman,
            directory=directory,
        )


def remove_boxes(boxlite: tuple[str, ...], home: Path) -> None:
    subprocess.run((*boxlite, "--home", str(home), "rm", "-f", "bench"), capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "comparisons", nargs="*", metavar="COMPARISON", help=f"any of: {', '.join(COMPARISONS)}"
    )
    parser.add_argument("--rounds", type=int, default=15, help="how often each is measured (default 15)")
    parser.add_argument("--rootfs", help="root file system of the image, tar or tar.gz (default: busybox)")
    parser.add_argument(
        "--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"), help="home whose guest image is used"
    )
    parser.add_argument("--json", type=Path, help="also write every sample to this file")
    options = parser.parse_args()
    unknown = set(options.comparisons) - set(COMPARISONS)
    if unknown or options.rounds < 1:
        parser.error(f"no such comparison: {', '.join(sorted(unknown))}" if unknown else "at least one round")
    results = []
    with make_place(options) as place:
        host = os.uname()
        print(f"{host.sysname} {host.release} {host.machine}, {os.cpu_count()} cpus; {options.rounds} rounds")
        for name in options.comparisons or COMPARISONS:
            with STAGES[name](place) as comparison:
                results.append(report(comparison, measure(comparison, options.rounds)))
        accel = find_accel(place)
        print(f"\nboxes ran on {accel}")
    if options.json:
        document = {"accel": accel, "rounds": options.rounds, "results": results}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
