"""Bytes, exit codes and signals between us and a command, with real processes and pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
HOLD = [sys.executable, str(HERE / "hold_local.py")]
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def start(*arguments: str, **streams: object) -> subprocess.Popen[bytes]:
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([*HOLD, *arguments], env=ENVIRONMENT, **settings)  # type: ignore[call-overload, no-any-return]


def run(*arguments: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    process = start(*arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
    out, err = process.communicate(stdin, timeout=60)
    return process.returncode, out, err


def test_session_exit_code_is_the_commands() -> None:
    assert run("sh", "-c", "exit 7")[0] == 7


def test_session_killed_command_gives_128_plus_signal() -> None:
    assert run("sh", "-c", "kill -9 $$")[0] == 137


def test_session_stdout_and_stderr_stay_apart() -> None:
    assert run("sh", "-c", "printf 'a\\0b'; printf 'c\\377' >&2")[1:] == (b"a\0b", b"c\xff")


def test_session_large_streams_are_byte_exact(tmp_path: Path) -> None:
    sent = os.urandom(8 * 1024 * 1024)
    assert run("-i", "cat", stdin=sent)[1] == sent
    (tmp_path / "in").write_bytes(sent)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        process = start("-i", "cat", stdin=source, stdout=target)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert (tmp_path / "out").read_bytes() == sent


def test_session_slow_reader_holds_the_command_back() -> None:
    process = start("sh", "-c", "head -c 3000000 /dev/zero; echo done >&2")
    assert process.stdout is not None and process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    time.sleep(1.0)
    assert process.stderr.read() is None
    assert len(process.stdout.read()) == 3_000_000
    assert process.wait(10) == 0
    process.stdout.close()
    process.stderr.close()


def test_session_open_stdin_does_not_delay_the_end() -> None:
    read_end, write_end = os.pipe()
    begun = time.monotonic()
    process = start("-i", "true", stdin=read_end)
    assert process.wait(20) == 0
    assert time.monotonic() - begun < 10
    os.close(write_end)
    os.close(read_end)
    process.communicate()


def test_session_reader_who_stopped_ends_it_with_141() -> None:
    process = start("yes")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_session_command_that_reads_no_more_is_not_an_error() -> None:
    assert run("-i", "head", "-c", "1", stdin=b"x" * 5_000_000)[:2] == (0, b"x")


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
)
def test_session_signals_reach_the_command(signum: signal.Signals) -> None:
    name = signum.name.removeprefix("SIG")
    process = start(
        "sh", "-c", f"trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signum)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (5, f"got {name}\n".encode())


def test_session_command_deaf_to_signals_is_ended_at_the_third() -> None:
    process = start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"did not end" in err


@pytest.fixture
def full_disk() -> Iterator[int]:
    fd = os.open("/dev/full", os.O_WRONLY)
    yield fd
    os.close(fd)


def test_session_output_that_cannot_be_written_is_an_error(full_disk: int) -> None:
    process = start("echo", "x", stdout=full_disk)
    _, err = process.communicate(timeout=20)
    assert process.returncode != 0
    assert b"writing standard output" in err
