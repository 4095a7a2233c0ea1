"""`boxlite run`, `exec` and what belongs to them, with Docker's semantics, on real machines.

`boxlite` is the installed command on a home of the test's own; `alpine` the name of an image in it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest

pytestmark = pytest.mark.vm


def names(boxlite: Any) -> list[str]:
    return [box["Names"] for box in json.loads(boxlite.out("ls", "-a", "--format", "json"))]


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
def test_run_exit_code_is_the_commands_own(boxlite: Any, alpine: str, code: int) -> None:
    assert boxlite("run", "--rm", alpine, "sh", "-c", f"exit {code}").returncode == code


def test_run_keeps_stdout_and_stderr_apart_and_whole(boxlite: Any, alpine: str) -> None:
    done = boxlite("run", "--rm", alpine, "sh", "-c", "printf 'a\\0\\377'; printf 'b\\n' >&2")
    assert (done.stdout, done.stderr) == (b"a\0\xff", b"b\n")


def test_run_sees_the_guests_kernel_not_the_hosts(boxlite: Any, alpine: str) -> None:
    assert boxlite.out("run", "--rm", alpine, "uname", "-r") != os.uname().release


def test_run_command_is_pid_1(boxlite: Any, alpine: str) -> None:
    assert boxlite.out("run", "--rm", alpine, "sh", "-c", "echo $$") == "1"


def test_run_options_after_the_image_belong_to_the_command(boxlite: Any, alpine: str) -> None:
    assert boxlite.out("run", "--rm", alpine, "ls", "-d", "/etc") == "/etc"
    assert boxlite.out("run", "--rm", alpine, "echo", "--rm", "--name", "x") == "--rm --name x"


def test_run_command_not_found_is_127(boxlite: Any, alpine: str) -> None:
    done = boxlite("run", "--rm", alpine, "no-such-program")
    assert (done.returncode, done.stdout) == (127, b"")
    assert b"no-such-program" in done.stderr and b"Traceback" not in done.stderr


def test_run_command_not_executable_is_126(boxlite: Any, alpine: str) -> None:
    done = boxlite("run", "--rm", alpine, "/etc/passwd")
    assert done.returncode == 126 and b"/etc/passwd" in done.stderr


def test_run_command_killed_is_128_plus_signal(boxlite: Any, alpine: str) -> None:
    script = "sh -c 'kill -9 $$'; exit $?"
    assert boxlite("run", "--rm", alpine, "sh", "-c", script).returncode == 137


@pytest.mark.parametrize(
    "options",
    [["-w", "relative"], ["--memory", "1"], ["--network", "host"], ["--name", "-bad"]],
)
def test_run_wrong_options_leave_nothing_behind(boxlite: Any, alpine: str, options: list[str]) -> None:
    assert boxlite("run", *options, alpine, "true").returncode == 2
    assert names(boxlite) == []


def test_run_image_that_is_not_there_is_125_and_leaves_nothing(boxlite: Any) -> None:
    done = boxlite("run", "--rm", "--pull", "never", "localhost/nope:1", "true")
    assert done.returncode == 125 and done.stderr.startswith(b"Error: ") and b"nope" in done.stderr
    assert names(boxlite) == []


@pytest.mark.parametrize("options", [["-w", "/no/such/dir"], ["-u", "nobody-here"]])
def test_run_missing_workdir_or_user_is_named(boxlite: Any, alpine: str, options: list[str]) -> None:
    done = boxlite("run", "--rm", *options, alpine, "true")
    assert done.returncode in (125, 126, 127)
    assert options[1].encode() in done.stderr
    assert names(boxlite) == []


def test_run_stdin_is_passed_only_with_i(boxlite: Any, alpine: str) -> None:
    assert boxlite("run", "--rm", "-i", alpine, "cat", stdin=b"hi\n").stdout == b"hi\n"
    assert boxlite("run", "--rm", alpine, "cat", stdin=b"hi\n").stdout == b""


def test_run_large_stdin_and_stdout_are_byte_exact(boxlite: Any, alpine: str) -> None:
    sent = os.urandom(4 * 1024 * 1024)
    assert boxlite("run", "--rm", "-i", alpine, "cat", stdin=sent).stdout == sent


def test_run_open_stdin_does_not_delay_the_end(boxlite: Any, alpine: str) -> None:
    process = boxlite.popen("run", "--rm", "-i", alpine, "true", stdin=subprocess.PIPE)
    assert process.wait(60) == 0
    process.stdin.close()


def test_run_reader_who_stopped_ends_the_box_quietly(boxlite: Any, alpine: str) -> None:
    pipe = subprocess.PIPE
    process = boxlite.popen("run", "--rm", alpine, "yes", stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
    assert names(boxlite) == []


def test_run_environment_user_and_directory(boxlite: Any, alpine: str) -> None:
    words = ["-e", "A=1", "-e", "FROM_HOST", "-e", "NOT_SET_ANYWHERE", "-w", "/tmp", "-u", "405"]
    done = boxlite(
        "run", "--rm", *words, alpine, "sh", "-c", 'echo "$A $FROM_HOST $PWD $(id -u)"', FROM_HOST="here"
    )
    assert done.stdout == b"1 here /tmp 405\n"
    assert done.stderr.startswith(b"Warning: environment variable NOT_SET_ANYWHERE")


def test_run_entrypoint_replaces_the_images_and_drops_its_command(boxlite: Any, alpine: str) -> None:
    assert boxlite.out("run", "--rm", "--entrypoint", "echo", alpine, "a", "b") == "a b"
    assert boxlite.out("run", "--rm", "--entrypoint", "pwd", "-w", "/usr", alpine) == "/usr"


def test_run_hostname_is_set(boxlite: Any, alpine: str) -> None:
    assert boxlite.out("run", "--rm", "-h", "web-1", alpine, "hostname") == "web-1"


def test_run_without_rm_keeps_a_stopped_box_with_its_code(boxlite: Any, alpine: str) -> None:
    assert boxlite("run", "--name", "job", alpine, "sh", "-c", "echo kept; exit 7").returncode == 7
    assert boxlite.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "job") == "stopped 7"
    assert boxlite.out("logs", "job") == "kept"
    assert boxlite.out("ls", "-q") == ""
    assert "stopped (7)" in boxlite.out("ls", "-a")


def test_run_rm_leaves_nothing_behind(boxlite: Any, alpine: str) -> None:
    boxlite("run", "--rm", "--name", "gone", alpine, "false")
    assert names(boxlite) == []
    assert not list((boxlite.home / "boxes").iterdir())


def test_run_name_taken_is_125_and_keeps_the_first(boxlite: Any, alpine: str) -> None:
    boxlite("run", "--name", "one", alpine, "true", check=True)
    done = boxlite("run", "--rm", "--name", "one", alpine, "true")
    assert done.returncode == 125 and b"one" in done.stderr
    assert names(boxlite) == ["one"]


def test_run_detached_prints_the_id_and_goes_on(boxlite: Any, alpine: str) -> None:
    box_id = boxlite.out("run", "-d", "--name", "bg", alpine, "sleep", "300")
    assert boxlite.out("inspect", "-f", "{{.Id}} {{.State.Status}}", "bg") == f"{box_id} running"
    assert boxlite.out("stop", "-t", "0", "bg") == "bg"
    assert boxlite.out("wait", "bg") == "137"


def test_run_detached_with_rm_goes_by_itself(boxlite: Any, alpine: str) -> None:
    boxlite("run", "-d", "--rm", alpine, "true", check=True)
    deadline = time.monotonic() + 30
    while names(boxlite) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert names(boxlite) == []


def test_run_cidfile_holds_the_id_and_must_be_new(boxlite: Any, alpine: str, tmp_path: Path) -> None:
    file = tmp_path / "id"
    boxlite("run", "--name", "x", "--cidfile", str(file), alpine, "true", check=True)
    assert file.read_text() == boxlite.out("inspect", "-f", "{{.Id}}", "x")
    assert boxlite("run", "--cidfile", str(file), alpine, "true").returncode == 125


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_run_signals_reach_the_command(boxlite: Any, alpine: str, signum: signal.Signals) -> None:
    name = signum.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.1; done"
    process = boxlite.popen(
        "run", "--rm", alpine, "sh", "-c", script, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signum)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, f"got {name}\n".encode())


def test_run_killed_command_takes_its_box_along(boxlite: Any, alpine: str) -> None:
    process = boxlite.popen(
        "run", "--name", "orphan", alpine, "sh", "-c", "echo ready; sleep 300",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while boxlite.out("ls", "-q") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert boxlite.out("ls", "-q") == ""


def test_exec_has_its_own_code_streams_and_stdin(boxlite: Any, alpine: str) -> None:
    boxlite("run", "-d", "--name", "bg", alpine, "sleep", "300", check=True)
    done = boxlite("exec", "bg", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"out\n", b"err\n")
    assert boxlite("exec", "-i", "bg", "--", "cat", stdin=b"x" * 100_000).stdout == b"x" * 100_000
    assert boxlite.out("exec", "-e", "A=1", "-w", "/tmp", "bg", "sh", "-c", "echo $A $PWD") == "1 /tmp"
    assert boxlite("exec", "bg", "nope").returncode == 127
    assert boxlite("exec", "bg", "/etc/passwd").returncode == 126
    assert boxlite("exec", "nobody", "true").returncode == 125


def test_exec_sees_what_the_main_command_wrote(boxlite: Any, alpine: str) -> None:
    boxlite("run", "-d", "--name", "bg", alpine, "sh", "-c", "echo here > /note; sleep 300", check=True)
    assert (
        boxlite.out("exec", "bg", "sh", "-c", "until grep . /note; do sleep 0.1; done 2>/dev/null") == "here"
    )


def test_exec_in_a_stopped_job_box_is_refused_with_advice(boxlite: Any, alpine: str) -> None:
    boxlite("run", "--name", "job", alpine, "true", check=True)
    done = boxlite("exec", "job", "true")
    assert done.returncode == 125 and b"boxlite start" in done.stderr


def test_create_start_attached_runs_the_command(boxlite: Any, alpine: str) -> None:
    box_id = boxlite.out("create", "--name", "later", alpine, "sh", "-c", "echo ran; exit 3")
    assert boxlite.out("inspect", "-f", "{{.State.Status}}", box_id[:6]) == "configured"
    done = boxlite("start", "-a", "later")
    assert (done.returncode, done.stdout) == (3, b"ran\n")


def test_several_boxes_every_one_is_tried(boxlite: Any, alpine: str) -> None:
    for name in ("a1", "b1"):
        boxlite("create", "--name", name, alpine, "true", check=True)
    done = boxlite("rm", "a1", "nobody", "b1")
    assert done.returncode == 1 and len(done.stdout.split()) == 2
    assert done.stderr.startswith(b"Error: ") and b"nobody" in done.stderr
    assert names(boxlite) == []


def test_inspect_missing_box_prints_the_others(boxlite: Any, alpine: str) -> None:
    boxlite("create", "--name", "a1", alpine, "true", check=True)
    done = boxlite("inspect", "a1", "nobody")
    assert done.returncode == 1 and [box["Name"] for box in json.loads(done.stdout)] == ["a1"]
    assert b"no such box: nobody" in done.stderr


def on_terminal(boxlite: Any, *words: str) -> Any:
    child = pexpect.spawn(
        boxlite.argv()[0],
        list(words),
        env=boxlite.environment(),
        dimensions=(24, 80),
        timeout=60,
        encoding="utf-8",
    )
    child.delaybeforesend = None
    return child


def test_terminal_shell_has_size_job_control_and_its_own_exit(boxlite: Any, alpine: str) -> None:
    child = on_terminal(boxlite, "run", "--rm", "-it", alpine, "sh")
    child.expect_exact("# ")
    child.sendline("stty size; tty; echo $TERM")
    child.expect_exact("24 80")
    child.expect(r"/dev/(pts/\d+|console)")
    child.expect_exact("xterm")
    child.sendline("sleep 300")
    time.sleep(0.5)
    child.sendcontrol("c")
    child.expect_exact("# ")
    child.sendline("exit 6")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 6


def test_terminal_is_followed_when_it_changes_size(boxlite: Any, alpine: str) -> None:
    child = on_terminal(boxlite, "run", "--rm", "-it", alpine, "sh")
    child.expect_exact("# ")
    child.setwinsize(40, 120)
    time.sleep(0.5)
    child.sendline("stty size")
    child.expect_exact("40 120")
    child.sendline("exit")
    child.expect(pexpect.EOF)
    child.close()


def test_terminal_detach_keys_leave_the_box_running(boxlite: Any, alpine: str) -> None:
    child = on_terminal(boxlite, "run", "--name", "kept", "-it", alpine, "sh")
    child.expect_exact("# ")
    child.send("\x10\x11")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert boxlite.out("inspect", "-f", "{{.State.Running}}", "kept") == "true"


def test_attach_exit_code_is_the_main_commands(boxlite: Any, alpine: str) -> None:
    child = on_terminal(boxlite, "run", "--name", "kept", "-it", alpine, "sh")
    child.expect_exact("# ")
    child.send("\x10\x11")
    child.expect(pexpect.EOF)
    child.close()
    again = on_terminal(boxlite, "attach", "kept")
    again.sendline("exit 4")
    again.expect(pexpect.EOF)
    again.close()
    assert again.exitstatus == 4


def test_terminal_asked_for_without_one_is_refused(boxlite: Any, alpine: str) -> None:
    done = boxlite("run", "--rm", "-t", alpine, "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, b"Error: the input device is not a TTY.")
    assert names(boxlite) == []


@pytest.mark.slow
def test_run_fast_output_is_never_lost(boxlite: Any, alpine: str) -> None:
    count = 1000 if os.environ.get("BOXLITE_TEST_LONG") else 40
    lost = [
        number
        for number in range(count)
        if boxlite("run", "--rm", alpine, "echo", str(number)).stdout != f"{number}\n".encode()
    ]
    assert lost == [], f"on {sys.platform}"
