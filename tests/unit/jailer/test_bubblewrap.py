"""The jail as an argument vector, and as a real room."""

import subprocess

import pytest

from engine.jailer.bubblewrap import wrap
from engine.jailer.grants import Jail, device, read, write
from engine.process import Command, find_program

needs_bwrap = pytest.mark.skipif(find_program("bwrap") is None, reason="bubblewrap is not installed")
SYSTEM = tuple(read(path, optional=True) for path in ("/usr", "/bin", "/lib", "/lib64"))


@needs_bwrap
def test_wrap_gives_the_documented_arguments() -> None:
    command = Command(argv=("/usr/bin/true", "x"), env={"A": "b"}, pass_fds=(7,))
    jail = Jail(grants=(read("/r"), write("/w"), device("/dev/kvm"), read("/o", optional=True)))
    wrapped = wrap(command, jail)
    assert wrapped.pass_fds == (7,)
    assert " ".join(wrapped.argv[1:]) == (
        "--unshare-user --unshare-all --uid 65534 --gid 65534 --hostname boxlite --cap-drop ALL"
        " --die-with-parent --new-session --as-pid-1"
        " --proc /proc --dev /dev --tmpfs /tmp --ro-bind /r /r --bind /w /w --dev-bind /dev/kvm /dev/kvm"
        " --ro-bind-try /o /o --remount-ro / --chdir / --clearenv --setenv A b -- /usr/bin/true x"
    )


def test_wrap_with_a_disabled_jail_still_dies_with_its_parent() -> None:
    wrapped = wrap(Command(argv=("/usr/bin/true",)), Jail(enabled=False))
    assert wrapped.argv[-3:] == ("KILL", "--", "/usr/bin/true")


@needs_bwrap
def test_jailed_process_sees_only_its_grants(tmp_path: object) -> None:
    script = "id -u; ls /; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; cat /etc/passwd; ls /proc | grep -c '^[0-9]'"
    wrapped = wrap(Command(argv=("/bin/sh", "-c", script)), Jail(grants=SYSTEM))
    done = subprocess.run(wrapped.argv, env={"SECRET": "1"}, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == "65534"
    assert "CapEff:\t0000000000000000" in lines and "CapBnd:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines
    assert "root" not in lines and "home" not in lines
    assert "No such file" in done.stderr


@needs_bwrap
def test_jailed_process_has_no_network_and_cannot_write() -> None:
    script = "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '; touch /x 2>&1; touch /usr/x 2>&1; env"
    wrapped = wrap(Command(argv=("/bin/sh", "-c", script)), Jail(grants=SYSTEM))
    done = subprocess.run(wrapped.argv, env={"SECRET": "1"}, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == "lo"
    assert done.stdout.count("Read-only file system") == 2
    assert "SECRET" not in done.stdout
