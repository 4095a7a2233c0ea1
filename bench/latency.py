"""How long a command in a running box takes: from the command line, and over one open session. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time

from run import Place, find_accel, make_place, run_command


def report(name: str, samples_ms: list[float]) -> None:
    ordered = sorted(samples_ms)
    p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
    print(f"{name:24} {len(ordered)} times: median {statistics.median(ordered):6.1f} ms  p99 {p99:6.1f} ms")


def by_command(place: Place, times: int) -> list[float]:
    samples = []
    for _ in range(times):
        begun = time.perf_counter()
        run_command(place.ours("exec", "bench", "true"))
        samples.append((time.perf_counter() - begun) * 1000)
    return samples


async def by_session(place: Place, times: int) -> list[float]:
    """The library's `exec` and `wait`, in the box that the command line started."""
    from boxlite import Boxlite, Options

    samples = []
    async with Boxlite(Options(home_dir=str(place.home))) as runtime:
        box = await runtime.get("bench")
        assert box is not None
        for _ in range(times):
            begun = time.perf_counter()
            execution = await box.exec("true", stdin=False)
            result = await execution.wait()
            samples.append((time.perf_counter() - begun) * 1000)
            await execution.close()
            assert result.exit_code == 0
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--rootfs", help="root file system of the image, tar or tar.gz (default: busybox)")
    parser.add_argument("--home", default=os.environ.get("BOXLITE_HOME", "~/.boxlite"))
    options = parser.parse_args()
    with make_place(options) as place:
        run_command(place.ours("run", "-d", "--name", "bench", place.image, "sleep", "3600"))
        report("boxlite exec BOX true", by_command(place, options.times))
        report("an open session", asyncio.run(by_session(place, options.times)))
        print(f"boxes ran on {find_accel(place)}")


if __name__ == "__main__":
    main()
