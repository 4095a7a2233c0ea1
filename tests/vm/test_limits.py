"""What a box may use is what it was given, and its neighbours do not notice when it takes all of that."""

from __future__ import annotations

import json

import pytest

from tests.framework.cli import Boxlite
from tests.framework.waiting import eventually, inspect, status

pytestmark = pytest.mark.vm

FILL_MEMORY = "tail /dev/zero"
"""Reads a line without end into memory."""


def test_cpus_and_memory_are_the_machines(boxlite: Boxlite, alpine: str) -> None:
    out = boxlite.out("run", "--rm", "--cpus", "2", "--memory", "256m", alpine,
                      "sh", "-c", "nproc; awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo")  # fmt: skip
    cpus, memory_mib = map(int, out.split())
    assert cpus == 2 and 180 < memory_mib <= 256


def test_out_of_memory_kills_the_command_and_is_told(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "neighbour", alpine, "sleep", "600", check=True)
    done = boxlite("run", "--name", "greedy", "--memory", "256m", alpine, "sh", "-c", f"exec {FILL_MEMORY}")
    assert done.returncode == 137
    shown = inspect(boxlite, "greedy")["State"]
    assert (shown["Status"], shown["OOMKilled"], shown["ExitCode"]) == ("stopped", True, 137)
    assert boxlite.out("exec", "neighbour", "echo", "here") == "here"
    assert inspect(boxlite, "neighbour")["State"]["OOMKilled"] is False
    boxlite("start", "greedy", check=True)
    assert inspect(boxlite, "greedy")["State"]["OOMKilled"] is False


def test_out_of_memory_of_an_exec_leaves_the_box_running(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "host", "--memory", "256m", alpine, "sleep", "600", check=True)
    assert boxlite("exec", "host", "sh", "-c", FILL_MEMORY).returncode == 137
    assert status(boxlite, "host") == "running"
    assert boxlite.out("exec", "host", "echo", "on") == "on"


def test_smallest_box_has_room_to_work_and_ends_at_its_limit(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "small", "--memory", "128m", alpine, "sleep", "600", check=True)
    write = "dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>&1 | tail -1"
    assert "8.0MB" in boxlite.out("exec", "small", "sh", "-c", write)
    assert boxlite("exec", "small", "sh", "-c", FILL_MEMORY).returncode == 137
    assert boxlite.out("exec", "small", "echo", "on") == "on"


@pytest.mark.parametrize("size_gb", [1, 20])
def test_disk_size_is_the_file_systems_and_the_devices(boxlite: Boxlite, alpine: str, size_gb: int) -> None:
    boxlite("run", "-d", "--name", "disk", "--disk-size", f"{size_gb}g", alpine, "sleep", "600", check=True)
    size_mib = int(boxlite.out("exec", "disk", "sh", "-c", "df -m / | awk 'NR==2 {print $2}'"))
    assert 0.9 * size_gb * 1024 < size_mib <= size_gb * 1024
    blocks = boxlite.out("exec", "disk", "sh", "-c", "cat /sys/block/vdb/size")
    assert int(blocks) * 512 == size_gb * 2**30
    write = "dd if=/dev/zero of=/big bs=1M seek=900 count=2 conv=fsync 2>/dev/null && stat -c %s /big"
    assert boxlite.out("exec", "disk", "sh", "-c", write) == str(902 * 2**20)
    boxlite("restart", "-t", "0", "disk", check=True)
    assert boxlite.out("exec", "disk", "sh", "-c", "stat -c %s /big; df -m / | awk 'NR==2 {print $2}'").split() == [
        str(902 * 2**20), str(size_mib),
    ]  # fmt: skip


def test_disk_that_is_full_says_so_and_works_again(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "full", "--disk-size", "1g", alpine, "sleep", "600", check=True)
    done = boxlite(
        "exec", "full", "sh", "-c", "fallocate -l 2G /big || dd if=/dev/zero of=/big bs=1M count=2000"
    )
    assert done.returncode != 0 and b"No space left" in done.stderr
    boxlite("exec", "full", "sh", "-c", "rm -f /big; echo fine > /small; sync", check=True)
    assert boxlite.out("exec", "full", "cat", "/small") == "fine"


def test_pids_limit_stops_a_fork_bomb_and_the_box_goes_on(boxlite: Boxlite, alpine: str) -> None:
    boxlite(
        "run", "-d", "--init", "--name", "forks", "--pids-limit", "20", alpine, "sleep", "600", check=True
    )
    done = boxlite("exec", "forks", "sh", "-c", "for i in $(seq 40); do sleep 5 & done; wait")
    assert b"can't fork" in done.stderr or b"Resource temporarily unavailable" in done.stderr
    eventually(lambda: boxlite("exec", "forks", "echo", "on").stdout == b"on\n", within_s=20)


def test_ulimit_shm_and_tmpfs_have_the_sizes_asked_for(boxlite: Boxlite, alpine: str) -> None:
    script = "ulimit -n; df -k /dev/shm /scratch | awk 'NR>1 {print $2}'; touch /scratch/x && echo written"
    out = boxlite.out("run", "--rm", "--ulimit", "nofile=123:456", "--shm-size", "8m",
                      "--tmpfs", "/scratch:size=4m", alpine, "sh", "-c", script)  # fmt: skip
    assert out.split() == ["123", str(8 * 1024), str(4 * 1024), "written"]


def test_read_only_leaves_only_mounts_writable(boxlite: Boxlite, alpine: str) -> None:
    script = "touch /no 2>&1; touch /scratch/yes && echo yes"
    out = boxlite.out("run", "--rm", "--read-only", "--tmpfs", "/scratch", alpine, "sh", "-c", script)
    assert "Read-only file system" in out and out.endswith("yes")


def test_programs_start_from_a_tmpfs_only_where_that_was_said(boxlite: Boxlite, alpine: str) -> None:
    script = "for d in /plain /said; do cp /bin/busybox $d; $d/busybox echo from $d 2>&1; done"
    mounts = ("--tmpfs", "/plain:rw,noexec,nosuid,size=8m", "--tmpfs", "/said:exec")
    first, second = boxlite.out("run", "--rm", *mounts, alpine, "sh", "-c", script).splitlines()
    assert first.endswith("Permission denied") and second == "from /said"


def test_user_has_the_groups_that_docker_gives(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "who", alpine, "sleep", "600", check=True)
    groups = {
        user: boxlite.out("exec", "-u", user, "who", "id", "-G")
        for user in ("nobody", "1234:5678", ":5", "1:0")
    }
    assert groups == {"nobody": "65534", "1234:5678": "5678", ":5": "5", "1:0": "0"}
    status = boxlite.out("exec", "-u", "1234:5678", "who", "grep", "Groups", "/proc/self/status")
    assert status.split() == ["Groups:", "5678"]
    named = boxlite.out("exec", "who", "cat", "/etc/hosts").splitlines()
    assert len(named) == len(set(named))


def test_every_limit_is_the_same_after_stop_and_start(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "kept", "--cpus", "2", "--memory", "256m", "--disk-size", "2g", "--pids-limit", "77",
            "--ulimit", "nofile=123:456", "--shm-size", "8m", "--tmpfs", "/scratch:size=4m", "--read-only",
            "--cap-drop", "chown", "--stop-timeout", "0", alpine, "sleep", "600", check=True)  # fmt: skip
    script = (
        "nproc; awk '/MemTotal/ {print $2}' /proc/meminfo; df -k / /dev/shm /scratch | awk 'NR>1 {print $2}';"
        "cat /sys/fs/cgroup/pids.max; ulimit -n; grep CapBnd /proc/self/status; touch /no 2>&1"
    )
    before = boxlite("exec", "kept", "sh", "-c", script).stdout.decode()
    for word in ("77", "123", "8192", "4096", "Read-only"):
        assert word in before
    boxlite("restart", "kept", check=True)
    assert boxlite("exec", "kept", "sh", "-c", script).stdout.decode() == before


@pytest.mark.parametrize(
    ("flags", "has", "lacks"),
    [
        ([], ["chown", "net_raw"], ["sys_admin", "net_admin"]),
        (["--cap-add", "NET_ADMIN", "--cap-drop", "cap_chown"], ["net_admin"], ["chown", "sys_admin"]),
        (["--cap-drop", "ALL", "--cap-add", "kill"], ["kill"], ["chown", "net_raw"]),
        (["--cap-add", "ALL", "--cap-drop", "sys_admin"], ["net_admin", "sys_time"], ["sys_admin"]),
        (["--privileged"], ["sys_admin", "sys_module"], []),
    ],
)
def test_capabilities_are_dockers_with_what_was_added_and_dropped(
    boxlite: Boxlite, alpine: str, flags: list[str], has: list[str], lacks: list[str]
) -> None:
    numbers = {
        "chown": 0,
        "kill": 5,
        "net_admin": 12,
        "net_raw": 13,
        "sys_module": 16,
        "sys_admin": 21,
        "sys_time": 25,
    }
    out = boxlite.out("run", "--rm", *flags, alpine, "grep", "-E", "^Cap(Eff|Bnd|Amb)", "/proc/self/status")
    sets = {line.split()[0]: int(line.split()[1], 16) for line in out.splitlines()}
    for name in ("CapEff:", "CapBnd:"):
        held = {word for word, number in numbers.items() if sets[name] >> number & 1}
        assert set(has) <= held and not held & set(lacks), name
    assert sets["CapAmb:"] == 0


def test_limits_out_of_range_are_refused_with_the_range(boxlite: Boxlite, alpine: str) -> None:
    for flags, named in (
        (["--memory", "64m"], b"128"),
        (["--cpus", "0"], b"cpus"),
        (["--disk-size", "2000g"], b"1024"),
    ):
        done = boxlite("run", "--rm", *flags, alpine, "true")
        assert done.returncode == 2 and named in done.stderr, flags
    assert json.loads(boxlite.out("ls", "-a", "--format", "json")) == []
