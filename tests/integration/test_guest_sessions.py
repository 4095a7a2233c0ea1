"""Executions with real processes in place of crun."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import pytest

from guest.cgroups import Cgroup
from guest.errors import GuestError
from guest.execution import Execution
from guest.pipes import Pipes
from guest.sessions import Sessions


async def _run(execution: Execution, *argv: str) -> asyncio.subprocess.Process:
    pipes = Pipes.open(stdin=execution.wants_stdin)
    execution.use_pipes(pipes)
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=pipes.stdin or asyncio.subprocess.DEVNULL, stdout=pipes.stdout, stderr=pipes.stderr
    )
    pipes.close()
    execution.started(process.pid)
    return process


def _execution(*, stdin: bool = False, held: bool = False) -> Execution:
    return Execution("e", ("x",), tty=False, stdin=stdin, cgroup=Cgroup(Path("/nonexistent")), held=held)


async def _read_all(execution: Execution, stream: int) -> bytes:
    reader = execution.outputs[stream].attach(0)
    got = b""
    while not (chunk := await reader.next()).end:
        got += chunk.data
        reader.consumed(chunk)
    reader.close()
    return got


async def test_execution_large_output_to_an_attached_reader_is_complete() -> None:
    execution = _execution(held=True)
    script = "import sys; sys.stdout.buffer.write(b'0123456789' * 500_000); sys.stderr.write('done')"
    process = await _run(execution, sys.executable, "-c", script)

    out, err = await asyncio.wait_for(
        asyncio.gather(_read_all(execution, 0), _read_all(execution, 1)), timeout=20
    )

    assert out == b"0123456789" * 500_000
    assert err == b"done"
    execution.ended_with(await process.wait())


async def test_execution_input_passes_through_and_half_closes() -> None:
    execution = _execution(stdin=True)
    process = await _run(execution, "cat")
    data = os.urandom(3_000_000)
    reading = asyncio.create_task(_read_all(execution, 0))

    await execution.write(data)
    await execution.close_stdin()

    got = await asyncio.wait_for(reading, 20)
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    execution.ended_with(await process.wait())


async def test_execution_input_nobody_reads_is_a_broken_pipe() -> None:
    execution = _execution(stdin=True)
    process = await _run(execution, "true")
    await process.wait()

    with pytest.raises(GuestError, match="reads no more input"):
        await execution.write(b"x" * 1_000_000)
    execution.ended_with(0)


async def test_execution_pipe_held_by_a_descendant_ends_after_the_drain_limit() -> None:
    execution = _execution()
    process = await _run(execution, "sh", "-c", "sleep 30 & echo $!; echo begun")
    reading = asyncio.create_task(_read_all(execution, 0))
    execution.ended_with(await process.wait())

    got = await asyncio.wait_for(reading, 5)

    pid, word = got.split()
    assert word == b"begun"
    os.kill(int(pid), 9)
    await asyncio.sleep(0.1)


async def test_sessions_wait_for_an_execution_that_comes_later_gets_it() -> None:
    sessions = Sessions()
    waiting = asyncio.create_task(sessions.wait_for("e", timeout_s=5))
    await asyncio.sleep(0)
    execution = _execution()

    sessions.add(execution)

    assert await waiting is execution


async def test_sessions_one_who_gives_up_waiting_takes_nothing_from_the_others() -> None:
    sessions, execution = Sessions(), _execution()
    waiting = asyncio.create_task(sessions.wait_for("e", timeout_s=None))
    cancelled = asyncio.create_task(sessions.wait_for("e", timeout_s=None))
    with pytest.raises(GuestError, match="no execution e"):
        await sessions.wait_for("e", timeout_s=0.01)
    cancelled.cancel()
    await asyncio.sleep(0)
    sessions.add(execution)
    assert await asyncio.wait_for(waiting, 5) is execution


async def test_sessions_refused_execution_tells_those_who_wait() -> None:
    sessions = Sessions()
    waiting = asyncio.create_task(sessions.wait_for("e", timeout_s=5))
    await asyncio.sleep(0)

    sessions.refuse("e", GuestError("command_not_found", "no such command"))

    with pytest.raises(GuestError, match="no such command"):
        await waiting
