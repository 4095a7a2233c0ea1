"""Terminals, with what people run in them: an editor, a pager, job control, a multiplexer; and ours, put back whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.framework import host_tools
from tests.framework.cli import Boxlite
from tests.framework.image_builder import build_image
from tests.framework.registry import RunningRegistry
from tests.framework.waiting import eventually

PROGRAMS = ("bash", "vim", "less", "top", "tmux", "stty", "seq", "sleep", "cat", "ps", "tty")
PATIENCE_S = 60


@pytest.fixture(scope="module")
def box(boxlite_of_module: Boxlite, registry: RunningRegistry) -> Iterator[str]:
    absent = host_tools.missing(PROGRAMS)
    if absent:
        pytest.skip(f"this host has no {', '.join(absent)} to put into a box")
    config = {"Env": ["PATH=/usr/bin", "LANG=C.UTF-8", "PS1=in$ "]}
    image = registry.push("tools", "1", build_image([host_tools.layer(PROGRAMS)], config=config))
    boxlite_of_module("run", "-d", "--init", "--name", "terminal", image, "sleep", "1000000", check=True)
    yield "terminal"
    boxlite_of_module("rm", "-f", "terminal")


@pytest.fixture
def calls(boxlite_of_module: Boxlite, box: str) -> Boxlite:
    return boxlite_of_module


def spawn(calls: Boxlite, *words: str, program: str | None = None) -> Any:
    """`boxlite WORDS…`, or another program, on a terminal of 24 by 80."""
    argv = [program, *words] if program else calls.argv(*words)
    child = pexpect.spawn(
        argv[0], argv[1:], env={**calls.environment(), "TERM": "xterm", "PS1": "host$ "}, dimensions=(24, 80),
        timeout=PATIENCE_S, encoding="utf-8",
    )  # fmt: skip
    child.delaybeforesend = None
    return child


def end(child: Any) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus  # type: ignore[no-any-return]


def bash(calls: Boxlite, box: str, *flags: str) -> Any:
    child = spawn(calls, "exec", "-it", *flags, box, "bash", "--norc", "--noediting")
    child.expect_exact("in$ ")
    return child


def is_raw(child: Any) -> bool:
    return not termios.tcgetattr(child.child_fd)[3] & (termios.ICANON | termios.ECHO)


def test_size_is_right_before_the_program_starts(calls: Boxlite, box: str) -> None:
    child = spawn(calls, "exec", "-it", box, "stty", "size")
    child.expect_exact("24 80")
    assert end(child) == 0


def test_vim_edits_a_file(calls: Boxlite, box: str) -> None:
    child = spawn(calls, "exec", "-it", box, "vim", "-u", "NONE", "/tmp/text")
    child.expect_exact("~")
    child.send("ihello\rworld\x1b")
    child.send("kx:wq\r")
    assert end(child) == 0
    assert calls.out("exec", box, "cat", "/tmp/text") == "hell\nworld"


def test_less_turns_pages(calls: Boxlite, box: str) -> None:
    child = spawn(calls, "exec", "-it", box, "bash", "-c", "seq 1 500 | less")
    child.expect(r"\b23\r")
    child.send(" ")
    child.expect(r"\b46\r")
    child.send("G")
    child.expect(r"\b500\r")
    child.send("q")
    assert end(child) == 0


def test_top_draws_and_hears_keys(calls: Boxlite, box: str) -> None:
    child = spawn(calls, "exec", "-it", box, "top", "-d", "0.5")
    child.expect_exact("Tasks")
    child.send("h")
    child.expect_exact("Help for Interactive Commands")
    child.send("q")
    child.expect_exact("Tasks")
    child.send("q")
    assert end(child) == 0


def test_bash_has_job_control_and_follows_the_size(calls: Boxlite, box: str) -> None:
    child = bash(calls, box)
    child.sendline("sleep 1000; echo over")
    time.sleep(0.5)
    child.sendcontrol("z")
    child.expect_exact("Stopped")
    child.sendline("jobs; tty; echo $TERM")
    child.expect(r"\[1\]\+\s+Stopped\s+sleep 1000")
    child.expect(r"/dev/pts/\d+\r\nxterm")
    child.sendline("fg")
    child.expect_exact("sleep 1000")
    time.sleep(0.5)
    child.sendcontrol("c")
    child.expect_exact("in$ ")
    child.setwinsize(33, 99)
    child.sendline("sleep 1; stty size")
    child.expect_exact("33 99")
    child.sendline("exit 7")
    assert end(child) == 7


def test_tmux_in_the_box_draws_its_screen(calls: Boxlite, box: str) -> None:
    child = spawn(calls, "exec", "-it", box, "tmux", "-u", "-f", "/dev/null", "new", "bash", "--norc")
    child.expect_exact("[0] 0:bash*")
    child.send("echo $((6 * 7))\r")
    child.expect_exact("42")
    child.send("exit\r")
    child.expect_exact("[exited]")
    assert end(child) == 0


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
def test_tmux_around_it_sees_the_screen_and_changes_its_size(
    calls: Boxlite, box: str, tmp_path: Path
) -> None:
    def tmux(*words: str) -> str:
        argv = ("tmux", "-u", "-S", str(tmp_path / "socket"), "-f", "/dev/null", *words)
        env = {**calls.environment(), "LANG": "C.UTF-8"}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout

    words = " ".join(calls.argv("exec", "-it", box, "vim", "-u", "NONE", "/tmp/seen"))
    tmux("new-session", "-d", "-x", "70", "-y", "20", words)
    try:
        eventually(lambda: "/tmp/seen" in tmux("capture-pane", "-p"), within_s=PATIENCE_S)
        tmux("send-keys", "i", "first line", "Enter", "second", "Escape")
        eventually(lambda: tmux("capture-pane", "-p").startswith("first line\nsecond\n~\n"), within_s=20)
        tmux("resize-window", "-x", "50", "-y", "10")
        eventually(lambda: tmux("capture-pane", "-p").count("~") == 7, within_s=20)
        tmux("send-keys", ":q!", "Enter")
    finally:
        subprocess.run(("tmux", "-S", str(tmp_path / "socket"), "kill-server"), capture_output=True)


@pytest.mark.parametrize(("flags", "keys"), [((), "\x10\x11"), (("--detach-keys", "ctrl-x,d"), "\x18d")])
def test_detach_keys_leave_the_command_and_attach_comes_back(
    calls: Boxlite, box: str, flags: tuple[str, ...], keys: str
) -> None:
    child = bash(calls, box, *flags)
    child.send("echo mark$((40 + 2))")
    child.send(keys)
    assert end(child) == 0
    rows = calls.out("top", box).splitlines()
    execution = next(row.split()[0] for row in rows if "--noediting" in row)
    again = spawn(calls, "attach", box, execution)
    again.expect_exact("echo mark$((40 + 2))")
    again.send("\r")
    again.expect_exact("mark42")
    again.setwinsize(30, 90)
    again.sendline("sleep 1; stty size")
    again.expect_exact("30 90")
    again.sendline("exit 5")
    assert end(again) == 5


def test_suspended_from_outside_and_brought_back_it_is_raw_again(calls: Boxlite, box: str) -> None:
    host = spawn(calls, "--norc", "--noediting", program=shutil.which("bash") or "bash")
    host.expect_exact("host$ ")
    words = " ".join(calls.argv("exec", "-it", box, "bash", "--norc", "--noediting"))
    host.sendline(words)
    host.expect_exact("in$ ")
    os.kill(ours(host), signal.SIGTSTP)
    host.expect_exact("Stopped")
    host.expect_exact("host$ ")
    host.sendline("echo $((50 + 5)) on the host")
    host.expect_exact("55 on the host")
    host.sendline("fg")
    eventually(lambda: is_raw(host), within_s=20)
    host.sendline("sleep 1000")
    time.sleep(0.5)
    host.sendcontrol("c")
    host.sendline("echo $((60 + 6)) in the box; exit 3")
    host.expect_exact("66 in the box")
    host.expect_exact("host$ ")
    host.sendline("echo status $?")
    host.expect_exact("status 3")
    host.close()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_killed_it_puts_the_terminal_back_and_ends_its_command(
    calls: Boxlite, box: str, signum: signal.Signals
) -> None:
    host = spawn(calls, "--norc", "--noediting", program=shutil.which("bash") or "bash")
    host.expect_exact("host$ ")
    host.sendline(" ".join(calls.argv("exec", "-it", box, "bash", "--norc", "--noediting")))
    host.expect_exact("in$ ")
    assert is_raw(host)
    os.kill(ours(host), signum)
    host.expect_exact("host$ ")
    assert not is_raw(host)
    host.sendline("echo status $?")
    host.expect_exact(f"status {128 + signum}")
    host.close()
    eventually(lambda: "--noediting" not in calls.out("top", box), within_s=20)


def test_closed_terminal_ends_it_and_its_command(calls: Boxlite, box: str) -> None:
    child = bash(calls, box)
    pid = child.pid
    os.close(child.child_fd)
    eventually(lambda: ended(pid), within_s=20)
    child.closed = True
    eventually(lambda: "--noediting" not in calls.out("top", box), within_s=20)


def ours(host: Any) -> int:
    """The one child of a shell."""
    return int(Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text())


def ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid
