"""Bytes and files in and out of a box, beside podman in the same run. See README.md."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from run import Place, find_accel, make_place, run_command

MIB = 1024 * 1024


def timed(argv: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    run_command(argv)
    return time.perf_counter() - begun


def make_tree(top: Path, files: int) -> Path:
    """`files` files of 4 KiB, a hundred in a directory."""
    for number in range(files):
        folder = top / f"{number // 100:04}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}").write_bytes(os.urandom(4096))
    return top


@contextlib.contextmanager
def containers(place: Place) -> Iterator[dict[str, Callable[..., tuple[str, ...]]]]:
    """A running box, and a running container where podman works, by the program that has it."""
    run_command(place.ours("pull", place.image))
    run_command(place.ours("run", "-d", "--name", "bench", place.image, "sleep", "3600"))
    programs: dict[str, Callable[..., tuple[str, ...]]] = {"boxlite": place.ours}
    if place.podman:
        run_command(place.podman.argv("run", "-d", "--name", "bench", place.image, "sleep", "3600"))
        programs["podman"] = place.podman.argv
    try:
        yield programs
    finally:
        run_command(place.ours("rm", "-f", "bench"))


def copy_both_ways(program: Callable[..., tuple[str, ...]], source: Path, round_: int) -> tuple[float, float]:
    """Seconds in and out; what comes back is what went in."""
    inside, back = f"/in-{round_}", source.with_name(f"back-{round_}")
    taken_in = timed(program("cp", str(source), f"bench:{inside}"))
    taken_out = timed(program("cp", f"bench:{inside}", str(back)))
    subprocess.run(("diff", "-r", str(source), str(back)), check=True)
    shutil.rmtree(back) if back.is_dir() else back.unlink()
    run_command(program("exec", "bench", "rm", "-rf", inside))
    return taken_in, taken_out


def compare_copies(place: Place, rounds: int, size_mib: int, files: int) -> None:
    large = place.directory / "large"
    large.write_bytes(os.urandom(size_mib * MIB))
    many = make_tree(place.directory / "many", files)
    with containers(place) as programs:
        for source, amount, unit in ((large, size_mib * MIB / 1e6, "MB/s"), (many, files, "files/s")):
            for round_ in range(rounds):
                for name, program in programs.items():
                    taken_in, taken_out = copy_both_ways(program, source, round_)
                    print(
                        f"cp {source.name:6} {name:8} in {amount / taken_in:8.1f} {unit}  out {amount / taken_out:8.1f} {unit}"
                    )


def stream_through(place: Place, size_mib: int) -> None:
    """Random bytes through `exec cat`, in and back out in one go; both hashes, and our peak memory."""
    with containers(place):
        argv = place.ours("exec", "-i", "bench", "cat")
        sent, received = hashlib.sha256(), hashlib.sha256()
        begun = time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        feeder = os.fork()
        if feeder == 0:
            process.stdout.close()
            generator = os.urandom
            for _ in range(size_mib):
                block = generator(MIB)
                sent.update(block)
                process.stdin.write(block)
            process.stdin.close()
            (place.directory / "sent").write_text(sent.hexdigest())
            os._exit(0)
        process.stdin.close()
        while block := process.stdout.read(MIB):
            received.update(block)
        os.waitpid(feeder, 0)
        status = process.wait()
        taken_s = time.perf_counter() - begun
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        same = (place.directory / "sent").read_text() == received.hexdigest()
        print(
            f"exec cat {size_mib} MiB both ways: {size_mib * MIB / 1e6 / taken_s:.1f} MB/s each, status {status}, "
            f"hashes {'equal' if same else 'DIFFER'}, peak of our largest process {peak_mib:.0f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size-mib", type=int, default=256, help="the large file (default 256)")
    parser.add_argument("--files", type=int, default=10000, help="files of 4 KiB (default 10,000)")
    parser.add_argument("--stream-mib", type=int, default=1024, help="through exec cat (default 1,024)")
    parser.add_argument("--rootfs", help="root file system of the image, tar or tar.gz (default: busybox)")
    parser.add_argument("--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"))
    options = parser.parse_args()
    with make_place(options) as place:
        if options.size_mib and options.files:
            compare_copies(place, options.rounds, options.size_mib, options.files)
        if options.stream_mib:
            stream_through(place, options.stream_mib)
        print(f"boxes ran on {find_accel(place)}")


if __name__ == "__main__":
    main()
