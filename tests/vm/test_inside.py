"""Inside the machine: what the container may not do there, and that its agent outlives whatever it does."""

from __future__ import annotations

import errno
import io
import platform
import tarfile
import time
from collections.abc import Iterator

import pytest

from tests.framework.cli import Boxlite
from tests.framework.syscall_program import build_program
from tests.framework.waiting import eventually, inspect

pytestmark = pytest.mark.vm

EPERM, ENOSYS = errno.EPERM, errno.ENOSYS
NEWNS, NEWUSER, AF_ALG, AF_VSOCK, BOGUS_PERSONALITY = 0x20000, 0x10000000, 38, 40, 0x40000

DENIED = {
    "keyctl": ("keyctl", 0, 0), "add_key": ("add_key", 0, 0, 0, 0, 0), "request_key": ("request_key", 0, 0, 0, 0),
    "mount": ("mount", 0, 0, 0, 0, 0), "umount": ("umount2", 0, 0), "pivot_root": ("pivot_root", 0, 0),
    "unshare-mounts": ("unshare", NEWNS), "unshare-user": ("unshare", NEWUSER), "clone-user": ("clone", NEWUSER, 0),
    "setns": ("setns", -1, 0), "bpf": ("bpf", 0, 0, 0), "perf": ("perf_event_open", 0, 0, 0, 0, 0),
    "userfaultfd": ("userfaultfd", 0), "io_uring": ("io_uring_setup", 1, 0), "init_module": ("init_module", 0, 0, 0),
    "kexec": ("kexec_load", 0, 0, 0, 0), "reboot": ("reboot", 0, 0, 0), "swapon": ("swapon", 0, 0),
    "open_by_handle": ("open_by_handle_at", 0, 0, 0), "vsock": ("socket", AF_VSOCK, 1, 0), "alg": ("socket", AF_ALG, 5, 0),
    "personality": ("personality", BOGUS_PERSONALITY), "kcmp": ("kcmp", 0, 0, 0, 0, 0), "iopl": ("iopl", 3),
    "acct": ("acct", 0), "settimeofday": ("settimeofday", 0, 0), "fsopen": ("fsopen", 0, 0),
    "move_mount": ("move_mount", -1, 0, -1, 0, 0), "quotactl": ("quotactl", 0, 0, 0, 0), "syslog": ("syslog", 3, 0, 0),
    "mbind": ("mbind", 0, 0, 0, 0, 0, 0),
}  # fmt: skip
OTHERS = {
    "clone3": (("clone3", 0, 0), ENOSYS),  # so that libraries fall back to clone
    "newer": (("open_tree_attr", 0, 0, 0, 0, 0), ENOSYS),
    "getpid": (("getpid",), 0),
    "own-personality": (("personality", 0xFFFFFFFF), 0),
}


@pytest.fixture(scope="module")
def box(boxlite_of_module: Boxlite, alpine: str) -> Iterator[str]:
    """One box for all attacks: small, so that each reaches its end."""
    boxlite_of_module(
        "run", "-d", "--init", "--name", "attacked", "--memory", "256m", "--disk-size", "1g", alpine, "sleep", "100000",
        check=True,
    )  # fmt: skip
    yield "attacked"
    boxlite_of_module("rm", "-f", "attacked")


def shell(boxlite: Boxlite, box: str, script: str, *flags: str, timeout_s: float = 120.0) -> str:
    """Output and errors of a script in the box, whatever its status."""
    done = boxlite("exec", *flags, box, "sh", "-c", script, timeout_s=timeout_s)
    return (done.stdout + done.stderr).decode()


def call_programs(boxlite: Boxlite, box: str) -> dict[str, int]:
    """Copy the programs into a box, run each, and return their error numbers."""
    programs = {**{name: build_program(*call) for name, call in DENIED.items()},
                **{name: build_program(*call) for name, (call, _) in OTHERS.items()}}  # fmt: skip
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, program in programs.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(program), 0o755
            archive.addfile(member, io.BytesIO(program))
    boxlite("cp", "-", f"{box}:/calls", stdin=packed.getvalue(), check=True)
    out = shell(boxlite, box, 'cd /calls; for each in *; do "./$each"; echo "$each $?"; done')
    return {name: int(status) for name, status in (line.split() for line in out.splitlines())}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the programs are for x86-64")
def test_container_is_refused_the_system_calls_docker_refuses(boxlite_of_module: Boxlite, box: str) -> None:
    found = call_programs(boxlite_of_module, box)
    assert {name: found[name] for name in DENIED} == dict.fromkeys(DENIED, EPERM)
    assert {name: found[name] for name in OTHERS} == {
        name: expected for name, (_, expected) in OTHERS.items()
    }
    assert "Seccomp:\t2" in shell(
        boxlite_of_module, box, "cat /proc/self/status /proc/1/status | grep Seccomp:"
    )


ESCAPES = """
    t() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name: succeeded"; fi; }
    cd /tmp
    for minor in $(seq 1 18); do mknod port$minor c $(sed -n 's/ virtio-portsdev//p' /proc/devices) $minor; t port$minor head -c 1 port$minor; done
    disk=$(sed -n 's/ virtblk//p' /proc/devices)
    for minor in 0 16 32; do mknod disk$minor b $disk $minor; t disk$minor head -c 1 disk$minor; done
    mknod mem c 1 1; t mem head -c 1 mem
    mknod kmsg c 1 11; t kmsg sh -c 'echo x > kmsg'
    mknod ports c 1 4; t ports head -c 1 ports
    mknod nvram c 10 144; mknod rtc c 249 0; t nvram head -c 1 nvram; t rtc head -c 1 rtc
    mknod misc c 10 183; t hwrng head -c 1 misc
    [ "$(head -c 1 /proc/kcore | wc -c)" = 0 ] || echo 'kcore: seen'
    t sysrq sh -c 'echo b > /proc/sysrq-trigger'
    t core_pattern sh -c 'echo x > /proc/sys/kernel/core_pattern'
    t modprobe sh -c 'echo x > /proc/sys/kernel/modprobe'
    t uevent sh -c 'echo x > /sys/kernel/uevent_helper'
    t cgroup sh -c 'mkdir /sys/fs/cgroup/mine'
    t limits sh -c 'echo max > /sys/fs/cgroup/memory.max'
    t release sh -c 'echo /x > /sys/fs/cgroup/release_agent'
    t remount mount -o remount,rw /sys
    t mount mount -t tmpfs none /mnt
    t proc mount -t proc proc /mnt
    t nsenter nsenter -t 1 -m true
    t chroot_out chroot /proc/1/root/.. ls /run/agent
    t agent ls /run/agent /run/box /run/crun
    t insmod insmod /x.ko
    date -s 2001-01-01 >/dev/null 2>&1; [ "$(date +%Y)" = 2001 ] && echo 'clock: set'
    t hostname hostname other
    t swap swapon disk0
    t reboot reboot -f
    t interface ip link set lo down
    t route ip route add 10.0.0.0/8 dev lo
    ls /dev | grep -E 'vport|vd|hvc|mem|kmsg|rtc' && echo "devices: seen"
    ls /proc/self/fd | grep -v -E '^[0-3]$' && echo "descriptors: inherited"
    ps -o args | grep -E 'guest|crun|python' | grep -v grep && echo "agent: seen"
    grep -q 0::/agent /proc/self/cgroup && echo "cgroup: the agent's"
    echo over
"""


def test_container_reaches_neither_agent_nor_machine(boxlite_of_module: Boxlite, box: str) -> None:
    lines = shell(boxlite_of_module, box, ESCAPES).splitlines()
    assert lines[-1] == "over"
    assert [
        line for line in lines if line.endswith((": succeeded", ": seen", ": set", ": inherited", "agent's"))
    ] == []


def test_usual_devices_work_and_may_be_made_anew(boxlite_of_module: Boxlite, box: str) -> None:
    script = "head -c 4 /dev/urandom | wc -c; mknod /tmp/zero c 1 5 && head -c 3 /tmp/zero | wc -c; echo x > /dev/null && echo ok"
    assert shell(boxlite_of_module, box, script).split() == ["4", "3", "ok"]


def answers(boxlite: Boxlite, box: str) -> None:
    """The agent is there: it lists what runs, and runs something."""
    eventually(lambda: boxlite("top", box).returncode == 0, within_s=60)
    eventually(lambda: boxlite("exec", box, "echo", "here").stdout == b"here\n", within_s=60)


@pytest.mark.parametrize(
    ("attack", "sign"),
    [
        ("dd if=/dev/zero of=/dev/shm/x bs=1M count=200; rm /dev/shm/x", "No space left"),
        ("dd if=/dev/zero of=/x bs=1M count=1100; rm /x", "No space left"),
        ("dd if=/dev/zero of=/etc/hosts bs=64k count=2000; echo 127.0.0.1 localhost > /etc/hosts", "No space left"),
        ("tail /dev/zero", ""),
        ("kill -9 1; kill -STOP 1", ""),
        ("while :; do echo x > /dev/null; done & while :; do :; done & sleep 3; kill %1 %2", ""),
    ],
)  # fmt: skip
def test_agent_outlives_an_attack_on_its_machine(
    boxlite_of_module: Boxlite, box: str, attack: str, sign: str
) -> None:
    began = inspect(boxlite_of_module, box)["State"]["StartedAt"]
    assert sign in shell(boxlite_of_module, box, attack, "--timeout", "90s", timeout_s=150)
    answers(boxlite_of_module, box)
    state = inspect(boxlite_of_module, box)["State"]
    assert (state["Status"], state["StartedAt"]) == ("running", began)


def test_box_full_of_processes_can_still_be_seen_and_stopped(boxlite: Boxlite, alpine: str) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000"
    boxlite("run", "-d", "--name", "bomb", "--memory", "256m", alpine, "sh", "-c", bomb, check=True)
    time.sleep(5)
    eventually(lambda: boxlite("top", "bomb").returncode == 0, within_s=120)
    begun = time.monotonic()
    boxlite("stop", "-t", "1", "bomb", check=True, timeout_s=60)
    assert time.monotonic() - begun < 50


def test_exec_answers_while_a_fork_bomb_runs_in_the_box(boxlite: Boxlite, alpine: str) -> None:
    """The bomb begins once a command has told what one takes without it, on whatever host this is."""
    bomb = "bomb() { bomb | bomb & }; (until [ -e /go ]; do sleep 1; done; bomb) & exec sleep 1000"
    boxlite("run", "-d", "--name", "bombed", alpine, "sh", "-c", bomb, check=True)
    boxlite("exec", "bombed", "true", check=True)
    alone_s = answers_within(boxlite, "bombed")
    boxlite("exec", "bombed", "touch", "/go", check=True)
    eventually(
        lambda: int(boxlite.out("exec", "bombed", "sh", "-c", "ls /proc | grep -c ^[0-9]")) > 300, within_s=60
    )
    assert answers_within(boxlite, "bombed") < 10 + 2 * alone_s
    boxlite("rm", "-f", "bombed", check=True)


def answers_within(boxlite: Boxlite, name: str) -> float:
    begun = time.monotonic()
    boxlite("exec", name, "true", check=True)
    return time.monotonic() - begun


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the programs are for x86-64")
def test_security_opt_takes_the_filter_away_or_puts_another_there(
    boxlite: Boxlite, alpine: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    profile = tmp_path_factory.mktemp("profile") / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
                       '[{"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]}')  # fmt: skip
    script = "touch /x; chmod 700 /x 2>&1; grep -E 'Seccomp:|NoNew' /proc/self/status"
    flags = ("--security-opt", f"seccomp={profile}", "--security-opt", "no-new-privileges")
    own = boxlite.out("run", "--rm", *flags, alpine, "sh", "-c", script)
    assert "Quota exceeded" in own or "Disk quota" in own or "122" in own
    assert "Seccomp:\t2" in own and "NoNewPrivs:\t1" in own
    boxlite(
        "run",
        "-d",
        "--name",
        "open",
        "--security-opt",
        "seccomp=unconfined",
        alpine,
        "sleep",
        "1000",
        check=True,
    )
    found = call_programs(boxlite, "open")
    assert found["add_key"] == errno.EFAULT and found["clone3"] == errno.EINVAL
    assert found["unshare-mounts"] == EPERM  # that is a capability's matter
    refused = boxlite("run", "--rm", "--security-opt", "apparmor=x", alpine, "true")
    assert refused.returncode == 125 and b"apparmor" in refused.stderr


def test_privileged_opens_the_machine_and_nothing_else(boxlite: Boxlite, alpine: str) -> None:
    script = (
        "mount -t tmpfs none /mnt && echo mounted; head -c 1 /dev/vda | wc -c; ls /dev | grep -c vport;"
        "grep Seccomp: /proc/self/status; uname -r"
    )
    out = boxlite.out("run", "--rm", "--privileged", alpine, "sh", "-c", script).split()
    assert out[:3] == ["mounted", "1", "0"] and out[4] == "0"
    assert out[5] != platform.release()
