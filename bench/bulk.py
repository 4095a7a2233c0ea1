"""Random bytes through a command of a box, in and out at once. See README.md."""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import time

from copies import BOX, containers
from run import Place, find_accel, make_place

MIB = 1024 * 1024


def stream_through(place: Place, size_mib: int) -> None:
    """Random bytes through `exec cat`, in and back out in one go; both hashes, and our peak memory."""
    with containers(place):
        argv = place.ours("exec", "-i", BOX, "cat")
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
    parser.add_argument("--stream-mib", type=int, default=1024, help="how much (default 1,024)")
    parser.add_argument("--rootfs", help="root file system of the image, tar or tar.gz (default: busybox)")
    parser.add_argument("--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"))
    options = parser.parse_args()
    with make_place(options) as place:
        stream_through(place, options.stream_mib)
        print(f"boxes ran on {find_accel(place)}")


if __name__ == "__main__":
    main()
