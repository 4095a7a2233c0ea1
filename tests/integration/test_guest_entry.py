"""The program that enters a container, run for real: into namespaces of this host."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.cgroups import Cgroup
from guest.entry import Entry
from guest.oci import ProcessSpec
from guest.pipes import Pipes
from guest.users import User

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is for x86-64"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter namespaces"),
]
NOBODY = User(uid=65534, gid=65534, groups=(7, 8))


class Starter:
    """Starts without a cgroup, which the agent alone has; and reaps like the agent's Reaper."""

    def spawn(self, argv: tuple[str, ...], *, env: tuple[str, ...], cgroup: Cgroup, keep: tuple[int, ...],
              stdin: int | None, stdout: int | None, stderr: int | None, ends_soon: bool) -> tuple[int, asyncio.Future[int]]:  # fmt: skip
        pid = os.posix_spawn(
            argv[0], argv, dict(entry.split("=", 1) for entry in env),
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in ((stdout, 1), (stderr, 2))]
            + [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep],
        )  # fmt: skip
        status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        status.set_result(os.waitpid(pid, 0)[1])
        return pid, status


@pytest.fixture
def init_pid() -> Iterator[int]:
    """A process of its own namespaces, as a container's first one is."""
    flags = ("--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child", "--mount-proc")
    parent = subprocess.Popen(
        ("unshare", *flags, "sh", "-c", "hostname inside; echo; exec sleep 100"), stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    yield int(children[0])
    parent.kill()
    parent.wait()
    parent.stdout.close()


async def run(init_pid: int, *argv: str, **fields: object) -> tuple[int | None, str]:
    """The exit status of a command that entered (None: it did not) and what it printed."""
    pipes = Pipes.open(stdin=False)
    values: dict[str, object] = {
        "env": ("PATH=/usr/bin:/bin", "GREETING=hello"), "working_dir": "/usr", "user": User(uid=0, gid=0),
        "tty": False, "capabilities": ("CHOWN", "KILL"),
    }  # fmt: skip
    spec = ProcessSpec(argv=argv, **{**values, **fields})  # type: ignore[arg-type]
    entry = Entry(Starter(), init_pid, seccomp_filter=b"")  # type: ignore[arg-type]
    pid = await entry.run(spec, Cgroup(Path("/nowhere")), pipes)
    pipes.close()
    return _ended(pid), _read(pipes.ours[1]) + _read(pipes.ours[2])


def _read(fd: int) -> str:
    with open(fd, "rb") as file:
        return file.read().decode()


def _ended(pid: int | None) -> int | None:
    return None if pid is None else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def test_entry_runs_in_the_other_namespaces_as_asked_for(init_pid: int) -> None:
    script = "hostname; pwd; echo $GREETING; umask; id -u; id -G; grep -E 'CapBnd|CapEff|CapInh' /proc/self/status; ls /proc/self/fd"
    status, printed = await run(init_pid, "sh", "-c", script, user=NOBODY)
    lines = printed.split()
    assert status == 0
    assert lines[:8] == ["inside", "/usr", "hello", "0022", "65534", "65534", "7", "8"]
    assert lines[8:14] == ["CapInh:", "0" * 16, "CapEff:", "0" * 16, "CapBnd:", "0" * 14 + "21"]
    assert lines[14:] == ["0", "1", "2", "3"]  # the last one is of ls itself


async def test_entry_is_a_child_of_ours_in_a_session_of_its_own(init_pid: int) -> None:
    status, printed = await run(
        init_pid, "sh", "-c", "cut -d ' ' -f 4,6 /proc/self/stat; echo $$ $PPID; exit 7"
    )
    stat, shell = printed.splitlines()
    assert status == 7
    assert stat.split() == [shell.split()[0]] * 2 and shell.split()[1] == "0"


@pytest.mark.parametrize("argv", [("no-such-program",), ("/etc/passwd",), ("/no/such/file",)])
async def test_entry_of_what_cannot_be_run_says_so_and_leaves_nothing(
    init_pid: int, argv: tuple[str, ...]
) -> None:
    assert await run(init_pid, *argv) == (None, "")


@pytest.mark.parametrize("fields", [
    {"working_dir": "/no/such/directory"}, {"capabilities": ("NO_SUCH",)}, {"rlimits": (("no_such", 1, 1),)},
    {"rlimits": (("nofile", 2**63, 2**63),)},
])  # fmt: skip
async def test_entry_that_a_call_refuses_runs_nothing(init_pid: int, fields: dict[str, object]) -> None:
    assert await run(init_pid, "true", **fields) == (None, "")


async def test_entry_limits_are_set(init_pid: int) -> None:
    limits = (("nofile", 100, 200), ("core", 0, 2**64 - 1))
    status, printed = await run(init_pid, "sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Sc", rlimits=limits)
    assert (status, printed.split()) == (0, ["100", "200", "0"])
