"""What /proc says of the processes of a running box, compared with what engine/jailer/THREAT_MODEL.md promises."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import host
from engine.jailer.grants import DEVICES
from engine.jailer.identity import FIRST_ID, SHARED_GID
from engine.process import is_alive, process_start_ticks
from engine.vmm.confinement import FIRMWARE_DIRS, SHARE_INSIDE
from tests.framework.cli import Boxlite
from tests.framework.proc import CAPABILITY_SETS, NAMESPACES, NO_CAPABILITY, Process, descendants
from tests.framework.waiting import eventually, inspect

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def machine(boxlite_of_module: Boxlite, alpine: str) -> Iterator[Process]:
    """QEMU of a running box."""
    boxlite = boxlite_of_module
    boxlite("run", "-d", "--name", "shown", alpine, "sleep", "600", check=True)
    shim = Process(inspect(boxlite, "shown")["State"]["Pid"])
    yield next(
        process for process in descendants(shim) if "qemu-system" in process.read("cmdline").split("\0")[0]
    )
    boxlite("rm", "-f", "shown")


def test_machine_has_every_namespace_of_its_own(machine: Process) -> None:
    shared = [kind for kind in NAMESPACES if machine.namespace(kind) == os.readlink(f"/proc/self/ns/{kind}")]
    assert shared == []


def test_machine_has_no_capability_in_any_set_and_gains_none(machine: Process) -> None:
    status = machine.status
    assert {name: status[name] for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, NO_CAPABILITY)
    assert status["NoNewPrivs"] == "1"


def test_machine_has_two_seccomp_filters(machine: Process) -> None:
    """Ours, and QEMU's own."""
    assert (machine.status["Seccomp"], machine.status["Seccomp_filters"]) == ("2", "2")


def test_machine_is_a_user_of_its_own_where_root_starts_it(machine: Process) -> None:
    uids, gids = machine.status["Uid"].split(), machine.status["Gid"].split()
    assert len(set(uids)) == len(set(gids)) == 1
    if os.geteuid() == 0:
        assert FIRST_ID < int(uids[0]) < 2**31 and uids == gids
        assert machine.status["Groups"].split() == [str(SHARED_GID)]
    else:
        assert int(uids[0]) == os.geteuid()


def test_machine_has_limits(machine: Process) -> None:
    limits = machine.limits
    assert limits["Max core file size"] == "0"
    assert limits["Max msgqueue size"] == "0"
    assert limits["Max open files"] == limits["Max processes"] == "1024"
    assert int(limits["Max address space"]) == (512 << 20) + (4 << 30)
    assert int(limits["Max file size"]) == (10 << 30) * 5 // 4


def test_machine_has_no_descriptor_but_what_was_handed_over(machine: Process, home: Path) -> None:
    files = [path for path in machine.descriptors if path.startswith("/") and not path.startswith("/memfd:")]
    inside = str(home.resolve())
    expected = re.compile(
        rf"/dev/null|{SHARE_INSIDE}|{inside}/(boxes/\w+/(disk\.qcow2|logs/qemu\.log)|bases/[\w-]+/base\.ext4|tmp/head-[\w-]+/qemu\.log)"
        r"( \(deleted\))?|/.*/templates/\w+/(memory|state)|/.*/guest/\w+/root\.img"
    )
    assert [path for path in files if not expected.fullmatch(path)] == []
    rest = {re.sub(r":?\[.*", "", path) for path in machine.descriptors if not path.startswith("/")}
    assert rest <= {"socket", "anon_inode", "pipe"}


def test_machine_has_no_environment(machine: Process) -> None:
    assert re.fullmatch(r"(PWD=/)?", machine.read("environ").strip("\0"))


def test_machine_sees_only_what_was_granted(machine: Process, home: Path) -> None:
    mounts = machine.mounts
    libraries = {str(Path(path).parent) for path in host.libraries_of(host.qemu_binary())}
    program = machine.read("cmdline").split("\0")[0]
    granted = {*libraries, program, *FIRMWARE_DIRS, *DEVICES, *host.libraries_of(host.qemu_binary())}
    granted |= {"/", "/proc", "/gate", SHARE_INSIDE}
    own = re.compile(r"/proc/.*|.*/(templates/\w+/(memory|state)|guest/\w+/root\.img)")
    assert [place for place in mounts if place not in granted and not own.fullmatch(place)] == []
    writable = [place for place, options in mounts.items() if "rw" in options.split(",")]
    assert [
        place for place in writable if place not in (*DEVICES, "/proc") and not place.startswith("/proc/")
    ] == []


def test_home_holds_nothing_that_others_may_read(machine: Process, home: Path) -> None:
    open_to_others = [
        str(path) for path in home.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o007
    ]
    assert open_to_others == []


def test_inspect_shows_how_the_machine_is_confined(machine: Process, boxlite_of_module: Boxlite) -> None:
    jail = wait_for_jail(boxlite_of_module)
    assert jail["Namespaces"] == ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
    assert jail["Seccomp"] == "machine" and jail["Capabilities"] == []
    assert str(jail["Uid"]) == (machine.status["Uid"].split()[0] if os.geteuid() == 0 else "None")
    assert {grant["Access"] for grant in jail["Grants"]} <= {"read", "device"}
    assert jail["Limits"]["open_files"] == 1024
    assert jail["Cgroup"]["Kind"] in ("systemd", "v1", "v2") or jail["Cgroup"]["Reason"]


def test_machine_is_in_the_control_group_that_inspect_names(
    machine: Process, boxlite_of_module: Boxlite
) -> None:
    kind = wait_for_jail(boxlite_of_module)["Cgroup"]["Kind"]
    if kind == "none":
        pytest.skip("this host lets us make no control group")
    assert re.search(r"memory:/boxlite/\w+|boxlite-\w+\.scope|0::/boxlite/\w+", machine.read("cgroup"))


def wait_for_jail(boxlite: Boxlite) -> dict[str, Any]:
    """It is written a moment after the start."""
    eventually(lambda: inspect(boxlite, "shown")["Security"]["Jail"] is not None, within_s=20)
    jail = inspect(boxlite, "shown")["Security"]["Jail"]
    assert isinstance(jail, dict)
    return jail


def test_files_made_in_a_volume_belong_to_the_person_and_stay(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    """The machine is another user outside, and the box is gone with all its mounts: neither may be seen in the volume."""
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o700)
    (volume / "before").write_text("kept")
    script = "cat /v/before; mkdir /v/made; echo new > /v/made/file; rm /v/before; stat -c %u /v /v/made/file"
    done = boxlite("run", "--rm", "-v", f"{volume}:/v", alpine, "sh", "-c", script)
    assert done.stdout == b"kept0\n0\n", done.stderr
    assert (volume / "made" / "file").read_text() == "new\n"
    assert not (volume / "before").exists()
    assert {path.stat().st_uid for path in (volume / "made", volume / "made" / "file")} == {os.geteuid()}


@pytest.mark.parametrize("link", ["engine.shim", "bwrap"])
def test_machine_ends_with_whichever_link_of_its_chain_is_killed(
    boxlite: Boxlite, alpine: str, link: str
) -> None:
    boxlite("run", "-d", "--name", "chain", "-p", "80", alpine, "sleep", "600", check=True)
    shim = Process(inspect(boxlite, "chain")["State"]["Pid"])
    family = [shim, *descendants(shim)]
    victim = next(process for process in family if link in process.read("cmdline"))
    started = [(process.pid, process_start_ticks(process.pid)) for process in family]
    os.kill(victim.pid, signal.SIGKILL)
    eventually(lambda: not any(is_alive(pid, ticks) for pid, ticks in started), within_s=20)
