"""The jail as an argument vector, and as a real room."""

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from engine.jailer.bubblewrap import wrap
from engine.jailer.grants import Identity, Jail, device, read, run, write
from engine.jailer.programs import program_grants
from engine.jailer.room import jailed
from engine.jailer.syscalls import gateway_profile
from engine.process import Command, find_program

needs_bwrap = pytest.mark.skipif(find_program("bwrap") is None, reason="bubblewrap is not installed")
SYSTEM = (*program_grants("/usr/bin/dash"), run("/usr/bin/id"), run("/usr/bin/cat"), read("/usr/lib"))
COMMAND = Command(argv=("/usr/bin/true", "x"), env={"A": "b"}, pass_fds=(7,))
GRANTS = (read("/r"), write("/w"), device("/dev/kvm"), read("/a/o", optional=True))
VIEW = (
    "--proc /proc --perms 0755 --dir /dev --perms 0755 --dir /a"
    " --dev-bind /dev/null /dev/null --dev-bind /dev/zero /dev/zero --dev-bind /dev/urandom /dev/urandom"
    " --ro-bind /r /r --bind /w /w --dev-bind /dev/kvm /dev/kvm --ro-bind-try /a/o /a/o"
)


def words(jail: Jail, gate: int | str | None = None) -> str:
    return " ".join(wrap(COMMAND, jail, gate=gate).argv[1:])


@needs_bwrap
def test_wrap_for_an_ordinary_user_gives_the_documented_arguments() -> None:
    assert wrap(COMMAND, Jail(grants=GRANTS)).pass_fds == (7,)
    assert words(Jail(grants=GRANTS)) == (
        "--unshare-ipc --unshare-uts --unshare-cgroup-try --unshare-net --unshare-pid --as-pid-1"
        " --unshare-user --uid 0 --gid 0 --hostname boxlite --cap-drop ALL --die-with-parent --new-session"
        f" {VIEW} --remount-ro / --chdir / --clearenv --setenv A b -- /usr/bin/true x"
    )


@needs_bwrap
def test_wrap_for_a_user_of_the_box_keeps_what_the_gate_needs_to_become_it() -> None:
    jail = Jail(grants=GRANTS, identity=Identity(uid=5, gid=6, shared_gid=7))
    assert words(jail, gate=9) == (
        "--unshare-ipc --unshare-uts --unshare-cgroup-try --unshare-net --unshare-pid"
        " --hostname boxlite --cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP"
        " --cap-add CAP_SYS_ADMIN --die-with-parent --new-session"
        f" {VIEW} --perms 0555 --file 9 /gate --remount-ro / --chdir / --clearenv --setenv A b --"
        " /gate /usr/bin/true x"
    )


@needs_bwrap
def test_wrap_with_weaker_modes_leaves_out_just_those_namespaces() -> None:
    there = set(words(Jail()).split())
    assert there - set(words(Jail(network=True)).split()) == {"--unshare-net"}
    assert {"--unshare-pid", "--as-pid-1"} <= there - set(words(Jail(pids=False)).split())


def test_wrap_with_a_disabled_jail_still_dies_with_its_parent() -> None:
    wrapped = wrap(Command(argv=("/usr/bin/true",)), Jail(enabled=False))
    assert wrapped.argv[-3:] == ("KILL", "--", "/usr/bin/true")


def output(script: str, jail: Jail, home: Path) -> subprocess.CompletedProcess[str]:
    async def run_jailed() -> subprocess.CompletedProcess[str]:
        command = Command(argv=("/usr/bin/dash", "-c", script))
        async with jailed(command, replace(jail, grants=SYSTEM), home=home) as wrapped:
            return subprocess.run(  # noqa: ASYNC221
                wrapped.argv,
                pass_fds=wrapped.pass_fds,
                env={"SECRET": "1"},
                capture_output=True,
                text=True,
                check=False,
            )

    return asyncio.run(run_jailed())


@needs_bwrap
def test_jailed_process_sees_only_its_grants(tmp_path: Path) -> None:
    script = "cd /; echo /usr/* /proc/1; exec cat /etc/passwd"
    done = output(script, Jail(), tmp_path)
    assert done.stdout.split() == ["/usr/*", "/proc/1"]  # what is not granted is not even listed
    assert "No such file" in done.stderr


@needs_bwrap
def test_jailed_process_can_neither_read_proc_nor_write_nor_see_our_environment(tmp_path: Path) -> None:
    done = output("read line </proc/self/environ; echo >/x; echo >/usr/x; set", Jail(), tmp_path)
    assert "/proc/self/environ: Permission denied" in done.stderr
    assert done.stderr.count("cannot create") == 2
    assert "SECRET" not in done.stdout


@needs_bwrap
def test_jailed_process_becomes_its_program_once_and_no_other(tmp_path: Path) -> None:
    done = output("echo here; exec id", Jail(syscalls=gateway_profile()), tmp_path)
    assert done.stdout == "here\n"
    assert "exec: id:" in done.stderr and done.returncode == 126
