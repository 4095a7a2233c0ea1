"""A command of exec gets the same from the agent's light way in as from crun: everything the kernel tells of it."""

from __future__ import annotations

import difflib
import platform
import re
from collections.abc import Iterator

import pytest

from tests.framework.cli import Boxlite

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="there is only crun's way"),
]

LIGHT, CRUN = ("PATH=/bin:/usr/bin",), ("PATH=bin:/bin:/usr/bin",)
"""The light way does not look for a command in a directory that is not absolute."""

FACTS = """
    grep -vE '^(Name|Pid|PPid|Tgid|NS[a-z]+|Vm[A-Za-z]+|Rss[A-Za-z]+|[a-z]*voluntary_ctxt_switches):' /proc/self/status
    cat /proc/self/oom_score_adj /proc/self/limits /proc/self/personality /proc/self/coredump_filter /proc/self/timerslack_ns
    sed 's/[0-9]*$//' /proc/self/cgroup
    for name in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$name; done
    ls /proc/self/fd
    for fd in 0 1 2; do readlink /proc/self/fd/$fd | sed 's/[0-9]//g'; done
    for fd in 1 2; do stat -L -c '%F %a %u:%g' /proc/self/fd/$fd; done
    tr '\\0' ' ' < /proc/$$/cmdline; readlink /proc/$$/exe; pwd; id; umask; trap; ulimit -a
    set -- $(cat /proc/$$/stat); echo parent $4 leads $(($6 - $$)) terminal $7 nice ${19} policy ${41}
    env | grep -v -E '^(PATH|_)='; echo $0 > /dev/stderr
"""


@pytest.fixture(scope="module", params=[
    (), ("--user", "guest", "--cap-add", "SYS_ADMIN", "--cap-drop", "CHOWN"),
    ("--security-opt", "no-new-privileges", "--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "memlock=-1", "-w", "/var"),
    ("--privileged", "--init"),
])  # fmt: skip
def box(boxlite_of_module: Boxlite, alpine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    boxlite_of_module(
        "run", "-d", "--name", "alike", *request.param, alpine, "sleep", "100000", check=True
    )  # fmt: skip
    yield "alike"
    boxlite_of_module("rm", "-f", "alike")


@pytest.mark.parametrize("flags", [
    (), ("-i", "-u", "nobody", "-w", "/"), ("-u", "1234:2345", "--privileged", "-e", "HOME=/x"),
])  # fmt: skip
def test_exec_by_both_ways_is_the_same(boxlite_of_module: Boxlite, box: str, flags: tuple[str, ...]) -> None:
    told = []
    for environment in (LIGHT, CRUN):
        words = [word for entry in environment for word in ("-e", entry)]
        done = boxlite_of_module(
            "exec", *flags, *words, box, "sh", "-c", FACTS, stdin=b"" if "-i" in flags else None
        )
        text = (done.stdout + done.stderr).decode()
        assert "Seccomp:" in text and "Max open files" in text, text
        told.append(re.sub(r"exec-\d+|\bpid \d+", "", text).splitlines())
    assert list(difflib.unified_diff(*told, "light", "crun", n=0)) == []
