"""A step of a build: the source is read-only, what it downloads is kept for the next time, its output is shown as it comes,
its time is limited, and what it made is copied out. Exits as the step did.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import boxlite

SCRIPT = """
set -e
mkdir -p /out
echo "$(ls /src | wc -l) files"
date >> /cache/builds
echo "build $(wc -l < /cache/builds)"
cat /src/* > /out/artifact
"""
TIMEOUT_S = 300.0


async def build(image: str, source: Path, target: Path) -> int:
    """Run the step; its exit status, 124 when it took too long."""
    runtime = boxlite.Boxlite.default()
    await runtime.volumes.create("ci-cache")
    box = await runtime.create(
        boxlite.BoxOptions(
            image=image,
            cpus=2,
            memory_mib=1024,
            volumes=[
                (source, "/src", "ro"),
                boxlite.VolumeMount(managed_volume="ci-cache", guest_path="/cache"),
            ],
        )
    )
    async with box:
        async with await box.exec(
            "sh", ["-c", SCRIPT], timeout_secs=TIMEOUT_S, stdin=False
        ) as step, asyncio.TaskGroup() as showing:  # fmt: skip
            showing.create_task(_show(step.stdout(), ""))
            showing.create_task(_show(step.stderr(), "! "))
            result = await step.wait()
        if result.timed_out:
            return 124
        if result.success:
            await box.copy_out("/out/artifact", target)
        return result.exit_code


async def _show(stream: boxlite.Output, mark: str) -> None:
    async for line in stream:
        print(f"{mark}{line}", flush=True)


async def main(image: str = "alpine:3.20", source: str = ".", target: str = "artifact") -> int:
    return await build(image, Path(source), Path(target))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
