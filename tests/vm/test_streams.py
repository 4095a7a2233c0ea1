"""What commands read and write in a box that runs: all of it, in order, at the speed of whoever is slower."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import boxlite as library
from engine.portal.greeting import HELLO_PATIENCE_S
from engine.portal.ports import find_lease
from engine.portal.session import connect
from tests.framework.cli import Boxlite
from tests.framework.waiting import eventually

BIG_BYTES = 48 * 1024 * 1024


@pytest.fixture(scope="module")
def box(boxlite_of_module: Boxlite, alpine: str) -> Iterator[str]:
    boxlite_of_module("run", "-d", "--name", "streams", alpine, "sleep", "1000000", check=True)
    yield "streams"
    boxlite_of_module("rm", "-f", "streams")


@pytest.fixture(scope="module")
def calls(boxlite_of_module: Boxlite, box: str) -> Boxlite:
    """The command, on a home whose one box stays from test to test."""
    return boxlite_of_module


def exec_id(calls: Boxlite, box: str, word: str) -> str:
    """The id of the command in whose arguments `word` occurs, as `top` shows it."""
    rows = calls.out("top", "-a", box).splitlines()
    return next(row.split()[0] for row in rows if word in row)


def wait_for(calls: Boxlite, box: str, script: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while calls("exec", box, "sh", "-c", script).returncode != 0:
        assert time.monotonic() < deadline, script
        time.sleep(0.2)


def test_exec_much_input_comes_back_unchanged(calls: Boxlite, box: str) -> None:
    sent = os.urandom(BIG_BYTES)
    done = calls("exec", "-i", box, "cat", stdin=sent)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(sent).digest()


def test_exec_much_of_both_outputs_stays_apart(calls: Boxlite, box: str) -> None:
    script = "head -c 5000001 /dev/zero & head -c 4000003 /dev/zero | tr '\\0' x >&2; wait"
    done = calls("exec", box, "sh", "-c", script)
    assert done.stdout == bytes(5_000_001)
    assert done.stderr == b"x" * 4_000_003


def test_exec_reader_who_stops_early_ends_the_command_quietly(calls: Boxlite, box: str) -> None:
    pipe = subprocess.PIPE
    process = calls.popen("exec", box, "sh", "-c", "exec yes reader-gone", stdout=pipe, stderr=pipe)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(4 * 1024 * 1024)
    process.stdout.close()
    assert process.wait(20) == 128 + signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()
    wait_for(calls, box, "! pgrep -f 'yes reader-gon[e]'")


def test_exec_input_nobody_reads_does_not_hold_the_end_up(calls: Boxlite, box: str) -> None:
    done = calls("exec", "-i", box, "head", "-c", "3", stdin=b"abcdef" * 2_000_000)
    assert (done.returncode, done.stdout) == (0, b"abc")


def test_exec_slow_reader_holds_the_command_back(calls: Boxlite, box: str, tmp_path: Path) -> None:
    counter = "dd if=/dev/zero bs=64k count=2000 2>/tmp/written; echo done >>/tmp/written"
    process = calls.popen("exec", box, "sh", "-c", counter, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert len(process.stdout.read(3 * 1024 * 1024)) == 3 * 1024 * 1024
    time.sleep(1.0)
    assert calls.out("exec", box, "cat", "/tmp/written") == ""  # 125 MiB nobody takes: it still writes
    assert len(process.stdout.read()) == 2000 * 65536 - 3 * 1024 * 1024
    assert process.wait(20) == 0
    process.stdout.close()


def test_attach_to_a_detached_exec_has_no_gap_and_its_exit_code(calls: Boxlite, box: str) -> None:
    script = "seq 1 20000; while [ ! -e /tmp/go-on ]; do sleep 0.1; done; seq 20001 40000; exit 5"
    calls("exec", "-d", box, "sh", "-c", script, check=True)
    process = calls.popen("attach", box, exec_id(calls, box, "seq 1 20000"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline()
    calls("exec", box, "touch", "/tmp/go-on", check=True)
    rest = process.stdout.read()
    process.stdout.close()

    assert first + rest == b"".join(b"%d\n" % number for number in range(1, 40001))
    assert process.wait(20) == 5


def test_attach_to_a_detached_exec_with_input_feeds_it(calls: Boxlite, box: str) -> None:
    calls("exec", "-i", "-d", box, "sh", "-c", "read word; echo got $word; exit 3", check=True)
    done = calls("attach", box, exec_id(calls, box, "read word"), stdin=b"hello\n")
    assert (done.returncode, done.stdout) == (3, b"got hello\n")


def test_attach_to_an_unknown_command_says_how_to_find_one(calls: Boxlite, box: str) -> None:
    done = calls("attach", box, "no-such-id")
    assert done.returncode == 1 and b"no-such-id" in done.stderr and b"boxlite top" in done.stderr


def test_exec_timeout_ends_descendants_of_another_session_too(calls: Boxlite, box: str) -> None:
    begun = time.monotonic()
    done = calls("exec", "--timeout", "2s", box, "sh", "-c", "setsid sleep 4321 & sleep 4322")
    assert done.returncode == 137 and b"timeout" in done.stderr
    assert time.monotonic() - begun < 15
    wait_for(calls, box, "! pgrep -f 'sleep 432[12]'")


def test_exec_pipe_held_by_a_descendant_ends_within_the_drain_limit(calls: Boxlite, box: str) -> None:
    begun = time.monotonic()
    done = calls("exec", box, "sh", "-c", "setsid sleep 30 & echo begun")
    assert (done.returncode, done.stdout) == (0, b"begun\n")
    assert time.monotonic() - begun < 15


def test_sixteen_commands_at_once_and_one_more(calls: Boxlite, box: str) -> None:
    processes = [
        calls.popen("--debug", "exec", box, "sh", "-c", f"sleep 2; echo {n}", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for n in range(20)
    ]  # fmt: skip
    results = [process.communicate(timeout=60) for process in processes]
    assert [out for out, _ in results] == [b"%d\n" % n for n in range(20)]
    assert [process.returncode for process in processes] == [0] * 20
    assert any(b"waiting for a free connection" in err for _, err in results)


async def test_sixty_four_commands_at_once_over_one_connection(calls: Boxlite, box: str) -> None:
    async with library.Boxlite(library.Options(home_dir=str(calls.home))) as runtime:
        found = await runtime.get(box)
        assert found is not None
        # Each waits for its input, which comes when all of them run.
        script = "echo begun $0; read word; echo $word $0; echo err $0 >&2; exit $0"
        executions = await asyncio.gather(*(found.exec("sh", ["-c", script, str(n)]) for n in range(64)))
        await asyncio.gather(*(execution.stdin().send_input("go\n") for execution in executions))
        results = await asyncio.gather(*(execution.collect() for execution in executions))
        assert [result.exit_code for result in results] == list(range(64))
        assert [result.stdout for result in results] == [f"begun {n}\ngo {n}\n" for n in range(64)]
        assert [result.stderr for result in results] == [f"err {n}\n" for n in range(64)]


@pytest.mark.parametrize(
    "script", ["echo on; exec sleep 3", "yes | head -c 3000000"], ids=["fed", "printing"]
)
def test_connection_after_a_killed_client_does_not_stall(calls: Boxlite, box: str, script: str) -> None:
    sockets = calls.home / "boxes" / calls.out("inspect", "-f", "{{.ID}}", box) / "sockets"
    waits = []
    for _ in range(5):
        with Path("/dev/zero").open("rb") as zeros:
            client = calls.popen("exec", "-i", box, "sh", "-c", script, stdin=zeros, stdout=subprocess.PIPE)
        assert client.stdout is not None and client.stdout.read(2)
        time.sleep(0.2)
        client.kill()
        client.wait()
        client.stdout.close()
        lease = find_lease(sockets, "portal", [0])
        assert lease is not None and lease.was_abandoned
        begun = time.monotonic()
        connect(sockets, lease).close()
        waits.append(time.monotonic() - begun)
        lease.release()
    assert statistics.median(waits) < HELLO_PATIENCE_S[0], waits


def test_machine_that_dies_is_told_to_everybody_within_a_second(boxlite: Boxlite, alpine: str) -> None:
    """On an idle host all four need 0.3 s."""
    pipe = subprocess.PIPE
    run = boxlite.popen(
        "run", "--name", "dying", alpine, "sh", "-c", "echo on; exec sleep 1000", stdout=pipe, stderr=pipe
    )
    assert run.stdout is not None and run.stdout.readline() == b"on\n"
    clients = {"run": run}
    for words in (
        ("exec", "dying", "sleep", "1000"),
        ("attach", "--no-stdin", "dying"),
        ("logs", "-f", "dying"),
    ):
        clients[words[0]] = boxlite.popen(*words, stdout=pipe, stderr=pipe)
    eventually(lambda: len(boxlite.out("top", "dying").splitlines()) == 3, within_s=30)
    time.sleep(2)
    machine = machine_of(boxlite, "dying")
    begun = time.monotonic()
    os.kill(machine, signal.SIGKILL)
    took_s, said = {}, {}
    while clients:
        for name, client in tuple(clients.items()):
            if client.poll() is not None:
                took_s[name] = time.monotonic() - begun
                said[name] = (client.returncode, client.communicate()[1].decode())
                del clients[name]
        assert time.monotonic() - begun < 20, clients
        time.sleep(0.01)
    assert said.pop("logs")[0] == 0
    for name, (status, text) in said.items():
        assert status == (1 if name == "attach" else 125) and "box dying" in text and "machine" in text, said
    assert "the machine is gone: the machine ended unexpectedly" in " ".join(
        text for _, text in said.values()
    )
    assert max(took_s.values()) < 1.0, took_s


def machine_of(boxlite: Boxlite, box: str) -> int:
    """The process of a running box's machine: the QEMU among the descendants of its shim."""
    found = [int(boxlite.out("inspect", "-f", "{{.State.Pid}}", box))]
    for pid in found:
        if Path(f"/proc/{pid}/comm").read_text().startswith("qemu"):
            return pid
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    raise AssertionError(f"no machine of {box}")
