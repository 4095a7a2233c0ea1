"""Raw mode, keys and sizes on a real terminal."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxlite_cli.parsers import parse_detach_keys
from boxlite_cli.terminal import DetachKeys

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DETACH = parse_detach_keys("ctrl-p,ctrl-q")


@pytest.fixture
def shell() -> Iterator[Any]:
    """A shell on a terminal of 24 by 80, with an alias `hold` for the program that holds a process."""
    child = pexpect.spawn(
        "sh",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PS1": "READY> ", "TERM": "dumb"},
        dimensions=(24, 80),
        timeout=20,
        encoding="utf-8",
    )
    child.delaybeforesend = None
    child.expect_exact("READY> ")
    child.sendline(f'hold() {{ {sys.executable} {HERE / "hold_local.py"} "$@"; }}')
    child.expect_exact("READY> ")
    yield child
    child.close(force=True)


def echoes(shell: Any) -> bool:
    return bool(termios.tcgetattr(shell.child_fd)[3] & termios.ECHO)


def hold_shell(shell: Any, script: str, *flags: str) -> None:
    shell.sendline(f"hold {' '.join(flags)} -t -i sh -c '{script}'; echo status $?")
    shell.expect("BOX[^']")


def test_terminal_ctrl_c_goes_to_the_command_as_a_key(shell: Any) -> None:
    hold_shell(shell, 'trap "echo inter""rupted; exit 4" INT; echo B""OX; while :; do sleep 0.1; done')
    shell.sendcontrol("c")
    shell.expect_exact("interrupted")
    shell.expect_exact("status 4")


def test_terminal_is_restored_after_the_command(shell: Any) -> None:
    hold_shell(shell, 'echo B""OX; stty -echo; read line; exit 3')
    shell.sendline("go")
    shell.expect_exact("status 3")
    shell.expect_exact("READY> ")
    shell.sendline("stty -a")
    shell.expect_exact("icanon")
    assert "-echo " not in shell.before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_terminal_is_restored_when_a_signal_ends_us(shell: Any, signum: signal.Signals) -> None:
    hold_shell(shell, 'echo B""OX; ps -o ppid= -p $PPID; sleep 30')
    shell.expect(r"(\d+)\r\n")
    pid = holder_of(shell)
    os.kill(pid, signum)
    shell.expect_exact(f"status {128 + signum}")
    shell.expect_exact("READY> ")
    shell.sendline("stty -a")
    shell.expect_exact("icanon")


def holder_of(shell: Any) -> int:
    """The pid of the only hold_local.py that is a child of the shell."""
    children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def test_terminal_size_is_passed_on_and_followed(shell: Any) -> None:
    hold_shell(shell, 'trap "stty size" WINCH; echo B""OX; sleep 0.3; stty size; while :; do sleep 0.1; done')
    shell.expect_exact("24 80")
    shell.setwinsize(30, 101)
    shell.expect_exact("30 101")
    shell.send("\x10\x11")
    shell.expect_exact("detached")


def test_terminal_detach_keys_leave_the_command(shell: Any) -> None:
    hold_shell(shell, 'echo B""OX; cat')
    shell.send("\x10")
    shell.send("\x11")
    shell.expect_exact("detached")
    shell.expect_exact("status 0")


def test_terminal_other_detach_keys_replace_the_usual(shell: Any) -> None:
    hold_shell(shell, 'echo B""OX; cat', "-k", "ctrl-x,z")
    shell.send("\x18z")
    shell.expect_exact("detached")


def test_terminal_stopped_and_brought_back_is_raw_again(shell: Any) -> None:
    hold_shell(shell, 'trap "echo inter""rupted; exit 4" INT; echo B""OX; while :; do sleep 0.1; done')
    os.kill(holder_of(shell), signal.SIGSTOP)
    shell.expect_exact("READY> ")
    settings = termios.tcgetattr(shell.child_fd)
    settings[3] |= termios.ECHO | termios.ICANON | termios.ISIG
    termios.tcsetattr(shell.child_fd, termios.TCSANOW, settings)
    shell.sendline("fg; echo status $?")
    for _ in range(200):
        if not echoes(shell):
            break
        shell.expect([pexpect.TIMEOUT, "impossible"], timeout=0.05)
    assert not echoes(shell)
    shell.sendcontrol("c")
    shell.expect_exact("interrupted")
    shell.expect_exact("status 4")


@given(st.lists(st.binary(max_size=6), max_size=8))
def test_detach_keys_without_the_sequence_pass_everything(pieces: list[bytes]) -> None:
    typed = b"".join(pieces)
    keys = DetachKeys(DETACH)
    passed = b""
    detached = False
    for piece in pieces:
        more, detached = keys.feed(piece)
        passed += more
        if detached:
            break
    if DETACH in typed:
        assert detached and passed == typed[: typed.index(DETACH)]
    else:
        assert not detached
        assert typed.removesuffix(DETACH[:1]) in (passed, passed.removesuffix(DETACH[:1]))


@given(st.lists(st.sampled_from([b"\x10", b"\x11", b"a"]), max_size=12))
def test_detach_keys_are_found_however_they_arrive(pieces: list[bytes]) -> None:
    keys = DetachKeys(DETACH)
    found = any(keys.feed(piece)[1] for piece in pieces)
    assert found == (DETACH in b"".join(pieces))


def test_detach_keys_none_pass_the_sequence_on() -> None:
    assert DetachKeys(b"").feed(DETACH) == (DETACH, False)
