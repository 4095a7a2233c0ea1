"""Many executions, many boxes, cancelled calls, forked and spawned processes."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

import boxlite as library
from tests.framework.cli import Boxlite

AT_ONCE = 100
REPEATED = 120
CANCELLED = 40
BOXES = 6
PROGRAM = """
import asyncio, multiprocessing, sys, boxlite

async def say(image, words):
    async with boxlite.SimpleBox(image) as box:
        print((await box.exec("echo", words)).stdout, end="", flush=True)

def child(image, words):
    try:
        asyncio.run(say(image, words))
    except boxlite.UnsupportedError as error:
        print(error, flush=True)

if __name__ == "__main__":
    image, method, first = sys.argv[1:]
    if first == "parent-first":
        child(image, "parent")
    process = multiprocessing.get_context(method).Process(target=child, args=(image, "child"))
    process.start()
    process.join(60)
    print(process.exitcode)
    process.kill()
"""
HOLDER = """
import asyncio, os, sys, time, boxlite
async def main():
    box = await boxlite.Boxlite.default().create(boxlite.BoxOptions(image=sys.argv[1]), name=sys.argv[2])
    await (await box.exec("true")).wait()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    time.sleep(600)
asyncio.run(main())
"""


FORKER = """
import asyncio, os, sys, time, boxlite
async def main():
    async with boxlite.SimpleBox(sys.argv[1]) as box:
        children = []
        for _ in range(int(sys.argv[2])):
            await box.exec("true")
            children.append(os.fork())
            if children[-1] == 0:
                time.sleep(0.2)
                os._exit(0)
        print(sum(os.waitpid(child, 0)[1] != 0 for child in children), os.environ.get("GRPC_ENABLE_FORK_SUPPORT"))
asyncio.run(main())
"""


@pytest.fixture
async def runtime(boxlite: Boxlite) -> AsyncIterator[library.Boxlite]:
    async with library.Boxlite(library.Options(home_dir=boxlite.home)) as runtime:
        yield runtime


def _held() -> tuple[int, int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks())


async def _output(box: library.Box, *words: str) -> str:
    async with await box.exec("echo", list(words), stdin=False) as execution:
        text = "".join([line async for line in execution.stdout()])
        assert (await execution.wait()).exit_code == 0
        return text


async def test_box_runs_a_hundred_executions_at_once_and_leaves_nothing_open(
    runtime: library.Boxlite, alpine: str
) -> None:
    async with await runtime.create(library.BoxOptions(image=alpine)) as box:
        said = await asyncio.gather(*(_output(box, str(number)) for number in range(AT_ONCE)))
        assert [text.strip() for text in said] == [str(number) for number in range(AT_ONCE)]
        before = _held()
        for number in range(REPEATED):
            assert (await _output(box, str(number))).strip() == str(number)
        after = _held()
    assert all(now <= was + 2 for was, now in zip(before, after, strict=True)), (before, after)


async def test_cancelled_executions_leave_no_process_behind(runtime: library.Boxlite, alpine: str) -> None:
    chance = random.Random(7)

    async def run_for_ever(box: library.Box) -> None:
        async with await box.exec("sh", ["-c", "sleep 1000 & exec sleep 1000"], stdin=False) as execution:
            await execution.wait()

    async with await runtime.create(library.BoxOptions(image=alpine)) as box:
        await _output(box, "warm")
        for _ in range(CANCELLED):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run_for_ever(box), chance.uniform(0, 0.25))
        async with asyncio.timeout(20):
            while "sleep 1000" in await _output_of(box, "sleep 0.1; ps -o args"):
                pass


async def _output_of(box: library.Box, script: str) -> str:
    async with await box.exec("sh", ["-c", script], stdin=False) as execution:
        return "".join([line async for line in execution.stdout()])


async def test_cancelled_starts_leave_no_box_running(
    runtime: library.Boxlite, alpine: str, boxlite: Boxlite
) -> None:
    chance = random.Random(11)
    for _ in range(6):
        box = await runtime.create(library.BoxOptions(image=alpine))
        starting = asyncio.ensure_future(box.start())
        await asyncio.sleep(chance.uniform(0, 0.8))
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await runtime.remove(box.id, force=True)
    assert boxlite.out("ls", "-aq") == ""


async def test_boxes_of_one_process_run_side_by_side(runtime: library.Boxlite, alpine: str) -> None:
    async def run(number: int) -> str:
        async with await runtime.create(library.BoxOptions(image=alpine)) as box:
            return (await _output(box, str(number))).strip()

    assert await asyncio.gather(*(run(number) for number in range(BOXES))) == [
        str(number) for number in range(BOXES)
    ]


@pytest.mark.parametrize(
    ("method", "first", "said"),
    [
        ("spawn", "parent-first", ["parent", "child", "0"]),
        ("fork", "child-first", ["child", "0"]),
        ("fork", "parent-first", ["parent", "forked", "0"]),
    ],
)
def test_worker_processes_have_boxes_of_their_own_or_are_told_why_not(
    boxlite: Boxlite, alpine: str, method: str, first: str, said: list[str]
) -> None:
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM, alpine, method, first)
        if method == "fork"
        else (sys.executable, _program_file(boxlite), alpine, method, first),
        capture_output=True, text=True, timeout=120, env=os.environ | {"BOXLITE_HOME": str(boxlite.home)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(said), done
    assert all(word in line for word, line in zip(said, lines, strict=True)), done


def _program_file(boxlite: Boxlite) -> str:
    """A spawned process reads its program again."""
    path = boxlite.home.parent / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def test_processes_forked_while_a_box_is_open_live_on(boxlite: Boxlite, alpine: str) -> None:
    done = subprocess.run(
        (sys.executable, "-c", FORKER, alpine, "20"),
        capture_output=True, text=True, timeout=120, env=os.environ | {"BOXLITE_HOME": str(boxlite.home)},
    )  # fmt: skip
    assert done.stdout == "0 None\n", done.stderr


def test_box_ends_with_its_program_though_a_forked_process_lives_on(boxlite: Boxlite, alpine: str) -> None:
    program = subprocess.Popen(
        (sys.executable, "-c", HOLDER, alpine, "held"),
        stdout=subprocess.PIPE, text=True, env=os.environ | {"BOXLITE_HOME": str(boxlite.home)},
    )  # fmt: skip
    with program:
        assert program.stdout is not None
        forked = int(program.stdout.readline())
        try:
            program.kill()
            program.wait()
            for _ in range(200):
                if "held" not in boxlite.out("ls", "-a"):
                    return
            raise AssertionError(boxlite.out("ls", "-a"))
        finally:
            os.kill(forked, 9)
