"""What a box promises, run as people run it: from a registry to an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite


def test_run_prints_what_the_box_has_and_exits_with_its_code(boxlite: Boxlite, alpine: str) -> None:
    done = boxlite("run", "--rm", alpine, "sh", "-c", "cat /etc/alpine-release; uname -r; exit 7")
    release, kernel = done.stdout.decode().split()
    assert (release, done.returncode) == ("3.20.3", 7), done.stderr
    assert kernel != os.uname().release
    assert boxlite.out("ls", "-aq") == ""


def test_run_keeps_stdout_and_stderr_apart_byte_for_byte(boxlite: Boxlite, alpine: str) -> None:
    script = r"printf 'a\000\377\nb'; printf 'e\001' >&2"
    done = boxlite("run", "--rm", alpine, "sh", "-c", script)
    assert done.stdout == b"a\x00\xff\nb"
    assert done.stderr == b"e\x01"


def test_run_with_stdin_passes_it_through(boxlite: Boxlite, alpine: str) -> None:
    data = os.urandom(300_000)
    assert boxlite("run", "--rm", "-i", alpine, "cat", stdin=data).stdout == data
    assert boxlite("run", "--rm", alpine, "cat", stdin=b"unseen").stdout == b""


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "sleep 9 & kill -9 $!; wait $!"], 137),
        (["nonesuch"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_run_exit_status_is_dockers(boxlite: Boxlite, alpine: str, words: list[str], status: int) -> None:
    done = boxlite("run", "--rm", alpine, *words)
    assert done.returncode == status, done.stderr
    assert boxlite.out("ls", "-aq") == ""


def test_run_environment_user_directory_and_hostname(boxlite: Boxlite, alpine: str) -> None:
    out = boxlite.out(
        "run", "--rm", "-e", "A=b c", "-w", "/tmp", "-u", "nobody", "--hostname", "hal", alpine,
        "sh", "-c", "echo $A; pwd; id -un; hostname; cat /proc/1/comm; true",
    )  # fmt: skip
    assert out.splitlines() == ["b c", "/tmp", "nobody", "hal", "sh"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [(["-w", "/nonesuch"], "/nonesuch"), (["-u", "nonesuch"], "nonesuch"), (["--cpus", "0"], "cpus")],
)
def test_run_of_what_the_image_lacks_names_it_and_leaves_nothing(
    boxlite: Boxlite, alpine: str, flags: list[str], named: str
) -> None:
    done = boxlite("run", "--rm", *flags, alpine, "true")
    assert done.returncode in (125, 126, 127, 2)
    assert named in done.stderr.decode()
    assert boxlite.out("ls", "-aq") == ""


@pytest.mark.timeout(1200)
def test_fast_commands_lose_no_output(boxlite: Boxlite, alpine: str) -> None:
    count = 200 if os.environ.get("CI") else 20
    for number in range(count):
        assert boxlite.out("run", "--rm", alpine, "echo", str(number)) == str(number)


def test_life_of_a_detached_box(boxlite: Boxlite, alpine: str) -> None:
    box_id = boxlite.out(
        "run", "-d", "--name", "web", alpine, "sh", "-c", "echo out; echo err >&2; sleep 600; true"
    )
    assert boxlite.out("ls", "-q") == box_id
    assert boxlite.out("exec", "web", "cat", "/proc/1/comm") == "sh"
    assert boxlite("exec", "web", "--", "sh", "-c", "exit 3").returncode == 3
    logs = boxlite("logs", "web", check=True)
    assert (logs.stdout, logs.stderr) == (b"out\n", b"err\n")
    boxlite("exec", "web", "sh", "-c", "echo kept > /root/file", check=True)
    boxlite("stop", "-t", "1", "web", check=True)
    assert boxlite.out("ls", "-q") == ""
    (shown,) = json.loads(boxlite.out("inspect", "web"))
    assert shown["State"]["Status"] == "stopped"
    refused = boxlite("exec", "web", "true")
    assert refused.returncode != 0 and "boxlite start web" in refused.stderr.decode()
    boxlite("start", "web", check=True)
    assert boxlite.out("exec", "web", "cat", "/root/file") == "kept"
    assert boxlite("rm", "web").returncode == 1
    assert boxlite.out("rm", "-f", "web") == box_id
    assert boxlite.out("ls", "-aq") == ""


def test_two_boxes_of_one_template_share_no_identity(boxlite: Boxlite, alpine: str) -> None:
    script = "cat /proc/sys/kernel/random/uuid /sys/class/net/eth0/address; hostname; cat /proc/sys/kernel/random/boot_id"
    one, two = (boxlite.out("run", "--rm", alpine, "sh", "-c", script).splitlines() for _ in range(2))
    assert all(a != b for a, b in zip(one[:3], two[:3], strict=True)), (one, two)


def test_clock_of_a_box_is_the_hosts(boxlite: Boxlite, alpine: str) -> None:
    assert abs(int(boxlite.out("run", "--rm", alpine, "date", "+%s")) - time.time()) < 5


def test_published_port_reaches_the_box(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "srv", "-p", "127.0.0.1::8080", alpine,
            "sh", "-c", "while :; do nc -l -p 8080 -e cat; done", check=True)  # fmt: skip
    (shown,) = json.loads(boxlite.out("inspect", "srv"))
    (port,) = shown["Network"]["Ports"]
    assert (port["HostIp"], port["BoxPort"]) == ("127.0.0.1", 8080)
    deadline = time.monotonic() + 20
    answer = b""
    while answer != b"hello\n" and time.monotonic() < deadline:
        # Until the server in the box listens, its machine refuses connections.
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", port["HostPort"]), timeout=10) as client,
        ):
            client.sendall(b"hello\n")
            answer = client.recv(100)
    assert answer == b"hello\n"


def test_taken_host_port_is_named_before_anything_starts(boxlite: Boxlite, alpine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        number = holder.getsockname()[1]
        done = boxlite("run", "--rm", "-p", f"127.0.0.1:{number}:80", alpine, "true")
    assert done.returncode == 125
    assert f"127.0.0.1:{number}/tcp" in done.stderr.decode()
    assert boxlite.out("ls", "-aq") == ""


def test_box_reaches_the_hosts_loopback_by_its_name(boxlite: Boxlite, alpine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        command = boxlite.popen(
            "run", "--rm", alpine, "sh", "-c", f"echo from the box | nc -w 5 host.boxlite.internal {number}",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        server.settimeout(60)
        client, _ = server.accept()
        with client:
            assert client.makefile().readline() == "from the box\n"
        assert command.wait(timeout=30) in (0, 1)


def test_network_disabled_leaves_no_interface(boxlite: Boxlite, alpine: str) -> None:
    out = boxlite.out("run", "--rm", "--network", "disabled", alpine, "ls", "/sys/class/net")
    assert out.split() == ["lo"]


def qemu_pid(boxlite: Boxlite, name: str) -> int:
    """The QEMU process of a box: the one of its shim's descendants that runs QEMU."""
    (shown,) = json.loads(boxlite.out("inspect", name))
    found = {int(shown["State"]["Pid"])}
    for _ in range(4):
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                parent = next(line for line in status.read_text().splitlines() if line.startswith("PPid:"))
            except (OSError, StopIteration):
                continue
            if int(parent.split()[1]) in found:
                found.add(int(status.parent.name))
    return next(pid for pid in found if Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"))


def test_machine_is_jailed(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "jailed", alpine, "sleep", "600", check=True)
    pid = qemu_pid(boxlite, "jailed")
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert fields["Seccomp"] == "2" and fields["NoNewPrivs"] == "1"
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
    assert not (Path(f"/proc/{pid}/root") / "etc/passwd").exists()
    assert not (Path(f"/proc/{pid}/root") / "root").exists()


@pytest.mark.parametrize("victim", ["command", "shim", "qemu"])
def test_kill_9_leaves_no_process_and_a_true_state(boxlite: Boxlite, alpine: str, victim: str) -> None:
    command = boxlite.popen("run", "--name", "prey", alpine, "sleep", "600")
    deadline = time.monotonic() + 60
    while boxlite("exec", "prey", "true").returncode != 0:
        assert time.monotonic() < deadline
    pid = qemu_pid(boxlite, "prey")
    (shown,) = json.loads(boxlite.out("inspect", "prey"))
    target = {"command": command.pid, "shim": shown["State"]["Pid"], "qemu": pid}[victim]
    os.kill(target, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "QEMU outlives it"
        time.sleep(0.05)
    command.wait(timeout=20)
    time.sleep(1)
    assert boxlite.out("ls", "-q") == ""
    (shown,) = json.loads(boxlite.out("inspect", "prey"))
    assert shown["State"]["Status"] in ("stopped", "failed")
    assert not any(str(boxlite.home) in path.read_bytes().decode(errors="replace") for path in cmdlines())
    boxlite("start", "prey", check=True)
    assert boxlite("exec", "prey", "true").returncode == 0


def cmdlines() -> list[Path]:
    own = {os.getpid(), os.getppid()}
    return [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and int(path.parent.name) not in own
    ]
