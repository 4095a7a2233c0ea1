"""Pull and assemble images from an empty store, beside podman, and skopeo with umoci, in turns. See README.md.

bench/pull.py [alpine] [debian] [layers] [--rounds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures import Podman, make_rootfs, push_layers, registry
from run import COMMAND_TIMEOUT_S, Comparison, Contender, find_boxlite, measure, report, run_command

PODMAN_LIMIT = 0.8
MEMORY_LIMIT_MIB = 200
SAMPLE_S = 0.02
LAYERS = 20
LAYERS_BYTES = 1 << 30
IMAGES = ("alpine", "debian", "layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it happens: our program, an empty directory, the registry's address, a podman."""

    boxlite: tuple[str, ...]
    directory: Path
    podman: Podman | None

    def contenders(self, image: str) -> Iterator[Contender]:
        ours = (*self.boxlite, "--home", str(self.directory / "home"))

        def forget() -> None:
            run_command((*ours, "image", "prune", "-a", "-f"))
            run_command((*ours, "gc"))
            os.sync()

        yield Contender(name="boxlite", commands=((*ours, "pull", "-q", image),), prepare=forget)
        if self.podman is not None:
            podman = self.podman

            def prepare() -> None:
                run_command(podman.argv("rmi", "--all", "--force"))
                os.sync()

            argv = podman.argv("pull", "-q", "--tls-verify=false", image)
            yield Contender(name="podman", commands=(argv,), prepare=prepare)
        if shutil.which("skopeo") and shutil.which("umoci"):
            store = self.directory / "oci"
            source, target = f"docker://{image}", f"oci:{store}:it"
            yield Contender(
                name="skopeo+umoci",
                commands=(
                    ("skopeo", "copy", "-q", "--src-tls-verify=false", source, target),
                    ("umoci", "unpack", "--image", f"{store}:it", str(self.directory / "bundle")),
                ),
                prepare=lambda: emptied(store, self.directory / "bundle"),
            )


def emptied(*directories: Path) -> None:
    """Remove them, and have what was written before on the disk, so that no contender pays for another's writes."""
    for directory in directories:
        if directory.exists():
            shutil.rmtree(directory)
    os.sync()


def debian_with_python(target: Path) -> Path:
    """A tar of this host's own Debian: the packages it cannot do without, and Python's."""
    listed = subprocess.run(
        ("dpkg-query", "-W", "-f", "${Package}\t${Priority}\n"), capture_output=True, text=True, check=True
    )
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    names = [name for name, priority in rows if priority in ("required", "important") or "python3" in name]
    files = subprocess.run(("dpkg-query", "-L", *names), capture_output=True, text=True, check=True).stdout
    named = (Path(line) for line in files.splitlines() if line.startswith("/"))
    with tarfile.open(target, "w") as archive:
        for path in sorted({path.parent.resolve() / path.name for path in named}):
            if os.path.lexists(path):
                archive.add(path, recursive=False)
    return target


def many_layers(directory: Path) -> list[Path]:
    """Tar files of this host's own files in /usr, LAYERS_BYTES in all, each in a directory of its own."""
    files = host_files(Path("/usr/lib"))
    layers = []
    for number in range(LAYERS):
        target, room = directory / f"layer-{number}.tar", LAYERS_BYTES // LAYERS
        with tarfile.open(target, "w") as archive:
            while room > 0:
                path, size = next(files)
                archive.add(path, arcname=f"layer-{number}{path}", recursive=False)
                room -= size
        layers.append(target)
    return layers


def host_files(directory: Path) -> Iterator[tuple[Path, int]]:
    """Regular files and their sizes, again from the start when there are no more."""
    while True:
        for parent, names, files in os.walk(directory):
            names.sort()
            for path in (Path(parent) / name for name in sorted(files)):
                if path.is_file() and not path.is_symlink():
                    yield path, path.stat().st_size


def peak_memory_mib(contender: Contender) -> float:
    """The most that a contender and all its processes hold at one moment, shared pages shared out (Pss)."""
    contender.prepare()
    peak_kib, over = 0, threading.Event()

    def sample() -> None:
        nonlocal peak_kib
        while not over.wait(SAMPLE_S):
            peak_kib = max(peak_kib, sum(pss_kib(pid) for pid in below(process.pid)))

    for argv in contender.commands:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        watcher = threading.Thread(target=sample)
        watcher.start()
        process.wait(COMMAND_TIMEOUT_S)
        over.set()
        watcher.join()
        over.clear()
    return peak_kib / 1024


def below(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                yield from below(int(child))


def pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


@contextlib.contextmanager
def make_place(directory: Path) -> Iterator[Place]:
    podman = Podman(directory / "podman")
    try:
        if shutil.which("podman") is None:
            print("note: podman is not installed; comparisons with it are skipped")
        yield Place(
            boxlite=find_boxlite(), directory=directory, podman=podman if shutil.which("podman") else None
        )
    finally:
        podman.close()


def layers_of(name: str, directory: Path, rootfs: Path | None) -> Iterable[Path]:
    makers: dict[str, Callable[[], Iterable[Path]]] = {
        "alpine": lambda: [rootfs or make_rootfs(directory / "rootfs.tar")],
        "debian": lambda: [debian_with_python(directory / "debian.tar")],
        "layers": lambda: many_layers(directory),
    }
    return makers[name]()


def compare(place: Place, name: str, image: str, rounds: int) -> None:
    contenders = tuple(place.contenders(image))
    limits = {"podman": PODMAN_LIMIT}
    comparison = Comparison(name=f"pull and assemble: {name}", contenders=contenders, limits=limits)
    report(comparison, measure(comparison, rounds))
    for contender in contenders:
        mib = peak_memory_mib(contender)
        limit = f"  limit {MEMORY_LIMIT_MIB}: {'kept' if mib <= MEMORY_LIMIT_MIB else 'MISSED'}"
        print(f"  {contender.name:16} {mib:7.0f} MiB at most{limit if contender is contenders[0] else ''}")


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"any of: {', '.join(IMAGES)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--rootfs", type=Path, help="root file system of `alpine` (default: a busybox)")
    parser.add_argument(
        "--directory", type=Path, help="where stores and images go (default: a temporary one)"
    )
    options = parser.parse_args(words)
    unknown = set(options.images) - set(IMAGES)
    if unknown or options.rounds < 1:
        parser.error(f"no such image: {', '.join(sorted(unknown))}" if unknown else "at least one round")
    with contextlib.ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="boxlite-pull-", dir=options.directory))
        )
        address = stack.enter_context(registry(directory))
        place = stack.enter_context(make_place(directory))
        for name in options.images or IMAGES:
            made = directory / f"made-{name}"
            made.mkdir()
            image = push_layers(address, layers_of(name, made, options.rootfs), repository=f"bench/{name}")
            if made.exists():
                shutil.rmtree(made)
            compare(place, name, image, options.rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
