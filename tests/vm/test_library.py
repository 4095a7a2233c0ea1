"""What the Python library promises, in real boxes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import boxlite as library
from tests.framework.cli import Boxlite

PROGRAM = """
import asyncio, sys, boxlite
async def main():
    runtime = boxlite.Boxlite.default()
    box = await runtime.create(boxlite.BoxOptions(image=sys.argv[1]), name=sys.argv[2])
    execution = await box.exec("echo", ["hello"])
    async for line in execution.stdout():
        print(line, flush=True)
    await asyncio.sleep(float(sys.argv[3]))
asyncio.run(main())
"""
SYNC_PROGRAM = """
import sys, boxlite
runtime = boxlite.SyncBoxlite()
box = runtime.create(boxlite.BoxOptions(image=sys.argv[1]), name=sys.argv[2])
print(*box.exec("echo", ["hello"]).stdout(), flush=True)
"""


@pytest.fixture
async def runtime(boxlite: Boxlite) -> AsyncIterator[library.Boxlite]:
    async with library.Boxlite(library.Options(home_dir=boxlite.home)) as runtime:
        yield runtime


async def test_life_of_a_box(runtime: library.Boxlite, alpine: str) -> None:
    box = await runtime.create(library.BoxOptions(image=alpine, auto_remove=False), name="life")
    assert not (await box.info()).state.running
    assert (await runtime.get_or_create(library.BoxOptions(image=alpine), "life")) == (box, False)
    assert not (await box.health_check()).responsive
    async with box:
        assert (await box.health_check()).responsive
        await (await box.exec("touch", ["/root/kept"])).wait()
        await box.rename("other")
        assert await runtime.exists("other") and not await runtime.exists("life")
        assert (await box.metrics()).pids >= 1
        with pytest.raises(library.InvalidStateError, match="other"):
            await runtime.remove(box.id)
    assert not (await box.info()).state.running
    result = await (await box.exec("cat", ["/root/kept"])).wait()
    assert result.exit_code == 0
    await runtime.remove(box.id, force=True)
    assert await runtime.get(box.id) is None
    with pytest.raises(library.NotFoundError):
        await runtime.remove(box.id)


async def test_executions_of_one_box(runtime: library.Boxlite, alpine: str) -> None:
    box = await runtime.create(library.BoxOptions(image=alpine))
    script = "echo out $0; echo err $0 >&2; exit $0"
    executions = await asyncio.gather(*(box.exec("sh", ["-c", script, str(n)]) for n in range(20)))
    for number, execution in enumerate(executions):
        assert (await execution.wait()).exit_code == number
        assert [line async for line in execution.stdout()] == [f"out {number}"]
        assert [line async for line in execution.stderr()] == [f"err {number}"]
    with pytest.raises(library.CommandNotFoundError, match="nonesuch"):
        await box.exec("nonesuch")
    timed_out = await (await box.exec("sleep", ["60"], timeout_secs=0.3)).wait()
    assert timed_out.timed_out
    async with await box.exec("sleep", ["61"]) as execution:
        pass
    assert (await execution.wait()).exit_code == -signal.SIGKILL
    execution = await box.exec(
        "sh", ["-c", "cat; echo $A; pwd; id -un"], {"A": "b"}, user="nobody", cwd="/tmp"
    )
    await execution.stdin().send_input("in\n")
    await execution.stdin().close()
    assert [line async for line in execution.stdout()] == ["in", "b", "/tmp", "nobody"]
    left = await (await box.exec_shell("ps | grep -c '[s]leep'")).collect()
    assert left.stdout == "0\n"
    await box.stop()
    await runtime.remove(box.id)
    assert await runtime.list_info() == ()


async def test_dead_machine_fails_waiting_calls_and_the_next_one_starts_it_again(
    runtime: library.Boxlite, alpine: str
) -> None:
    box = await runtime.create(library.BoxOptions(image=alpine, auto_remove=False))
    execution = await box.exec("sleep", ["600"])
    pid = (await box.info()).state.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    with pytest.raises(library.RpcTransportError, match=box.name):
        await execution.wait()
    assert time.monotonic() - begun < 5
    assert (await (await box.exec("true")).wait()).exit_code == 0


async def test_simple_box_collects_and_cleans_up(runtime: library.Boxlite, alpine: str) -> None:
    async with library.SimpleBox(alpine, runtime=runtime, memory_mib=256, env={"A": "1"}) as box:
        result = await box.exec("sh", "-c", "echo $A; echo e >&2; exit 3")
        assert (result.exit_code, result.stdout, result.stderr) == (3, "1\n", "e\n")
        with pytest.raises(TimeoutError):
            await box.exec("sleep", "60", timeout=0.3)
    assert await runtime.list_info() == ()


def run_program(boxlite: Boxlite, code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *args],
        env={**boxlite.environment(), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_gone(boxlite: Boxlite, name: str) -> None:
    deadline = time.monotonic() + 20
    while name in boxlite.out("ls", "-a"):
        assert time.monotonic() < deadline, f"{name} outlives its program"


@pytest.mark.parametrize("code", [PROGRAM, SYNC_PROGRAM], ids=["async", "sync"])
def test_program_that_ends_without_a_word_ends_its_box(boxlite: Boxlite, alpine: str, code: str) -> None:
    out, err = run_program(boxlite, code, alpine, "mine", "0").communicate(timeout=60)
    assert (out, err) == ("hello\n", "")
    wait_gone(boxlite, "mine")


def test_program_that_is_killed_ends_its_box(boxlite: Boxlite, alpine: str) -> None:
    program = run_program(boxlite, PROGRAM, alpine, "prey", "600")
    assert program.stdout is not None and program.stdout.readline() == "hello\n"
    program.kill()
    program.communicate()
    wait_gone(boxlite, "prey")


def test_plain_calls_work_on_files(boxlite: Boxlite, alpine: str) -> None:
    with library.SyncBoxlite(library.Options(home_dir=boxlite.home)) as runtime:
        box = runtime.create(library.BoxOptions(image=alpine))
        box.mkdir("/plain", exist_ok=True)
        assert box.write_file("/plain/f", iter([b"a", b"b"])) == 2
        assert b"".join(box.iter_file("/plain/f")) == box.read_file("/plain/f") == b"ab"
        box.rename_file("/plain/f", "/plain/g")
        assert (
            [file.name for file in box.list_dir("/plain")]
            == ["g"]
            == [file.name for file in box.glob("/plain/*")]
        )
        box.remove_file("/plain", recursive=True)
        assert not box.exists("/plain")
