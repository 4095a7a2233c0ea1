"""What /proc says of the processes that speak for a running box, passt and the gateway, compared with what
engine/jailer/THREAT_MODEL.md promises.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.jailer.grants import DEVICES
from engine.jailer.identity import FIRST_ID, SHARED_GID
from engine.net.passt import MEMORY_BYTES as PASST_MEMORY_BYTES
from engine.net.passt import needs_privilege
from engine.shim.gateway_jail import (
    MEMORY_BYTES,
    PROGRAMS,
    RESOLV_CONF,
    SOURCE_ROOT,
    SYSTEM,
    can_be_another_user,
)
from tests.framework.cli import Boxlite
from tests.framework.proc import NO_CAPABILITY, Process, descendants
from tests.framework.waiting import inspect

pytestmark = pytest.mark.vm
FETCH = ("wget", "-q", "-T", "5", "-O", "/dev/null", "http://host.boxlite.internal:1/")


@pytest.fixture(scope="module")
def passt(boxlite_of_module: Boxlite, alpine: str) -> Iterator[Process]:
    """passt of a box that publishes a port."""
    yield from process_of(boxlite_of_module, alpine, "open", "passt", "-p", "127.0.0.1::80")


@pytest.fixture(scope="module")
def gateway(boxlite_of_module: Boxlite, alpine: str) -> Iterator[Process]:
    """The gateway of a restricted box."""
    restricted = ("--allow-net", "host.boxlite.internal")
    yield from process_of(boxlite_of_module, alpine, "restricted", "engine.net", *restricted)


def process_of(boxlite: Boxlite, alpine: str, name: str, word: str, *options: str) -> Iterator[Process]:
    boxlite("run", "-d", "--name", name, *options, alpine, "sleep", "600", check=True)
    boxlite("exec", name, *FETCH)  # refused, but it was there to be asked
    shim = Process(inspect(boxlite, name)["State"]["Pid"])
    yield next(
        process
        for process in descendants(shim)
        if word in process.read("cmdline") and process.program != "bwrap"
    )
    boxlite("rm", "-f", name)


def test_passt_has_every_namespace_of_its_own_but_the_network_s(passt: Process) -> None:
    """The cgroup namespace is bubblewrap's, where it can make one."""
    assert passt.shared_namespaces == {"net"}


def test_passt_has_no_capability_and_gains_none(passt: Process) -> None:
    """What is in its bounding set is of its own user namespace, and nothing it could start would get it."""
    assert {value for name, value in passt.capabilities.items() if name != "CapBnd"} == {NO_CAPABILITY}
    assert passt.status["NoNewPrivs"] == "1"


def test_passt_has_our_filter_and_its_own(passt: Process) -> None:
    assert passt.seccomp == ("2", "2")


def test_passt_is_a_user_of_its_own_where_root_starts_it(passt: Process) -> None:
    (uid,), (gid,) = set(passt.status["Uid"].split()), set(passt.status["Gid"].split())
    if os.geteuid() != 0:
        assert int(uid) == os.geteuid()
    else:
        assert uid == gid and FIRST_ID < int(uid) < 2**31
        assert passt.status["Groups"].split() == ([] if needs_privilege(()) else [str(SHARED_GID)])


def test_passt_has_limits(passt: Process) -> None:
    limits = passt.limits
    assert (limits["Max core file size"], limits["Max msgqueue size"]) == ("0", "0")
    assert int(limits["Max address space"]) == PASST_MEMORY_BYTES
    if os.geteuid() == 0:
        assert limits["Max processes"] == "1"


def test_passt_has_no_descriptor_of_a_file(passt: Process) -> None:
    files = {path for path in passt.descriptors if path.startswith("/")}
    assert files <= {"/dev/null"}
    assert {re.sub(r":?\[.*", "", path) for path in passt.descriptors} - files <= {
        "socket", "anon_inode", "pipe",
    }  # fmt: skip


def test_passt_sees_an_empty_directory_and_nothing_else(passt: Process) -> None:
    """Its own doing: Landlock on files would forbid it, and could forbid no more."""
    assert passt.mounts.keys() == {"/"}
    assert "ro" in passt.mounts["/"].split(",")
    assert os.listdir(f"/proc/{passt.pid}/root") == []


def test_gateway_has_every_namespace_of_its_own_but_the_network_s(gateway: Process) -> None:
    assert gateway.shared_namespaces == {"net"}


def test_gateway_has_no_capability_in_any_set_and_gains_none(gateway: Process) -> None:
    assert set(gateway.capabilities.values()) == {NO_CAPABILITY}
    assert gateway.status["NoNewPrivs"] == "1"


def test_gateway_has_a_seccomp_filter(gateway: Process) -> None:
    assert gateway.seccomp == ("2", "1")


@pytest.mark.skipif(can_be_another_user(), reason="a user of its own can be given")
def test_gateway_is_the_user_who_starts_the_box_where_nobody_else_may_read_this_program(
    gateway: Process,
) -> None:
    assert set(gateway.status["Uid"].split()) == {str(os.geteuid())}
    assert gateway.read("uid_map").split() == ["0", str(os.geteuid()), "1"]


@pytest.mark.skipif(not can_be_another_user(), reason="it stays the user who starts the box")
def test_gateway_is_a_user_of_its_own_where_root_starts_it(gateway: Process) -> None:
    (uid,), (gid,) = (set(gateway.status[name].split()) for name in ("Uid", "Gid"))
    assert int(uid) > FIRST_ID and int(gid) > FIRST_ID
    assert set(gateway.status["Groups"].split()) <= {str(SHARED_GID)}
    assert gateway.read("uid_map").split() == ["0", uid, "1"]


def test_gateway_has_limits(gateway: Process) -> None:
    assert (gateway.limits["Max core file size"], gateway.limits["Max msgqueue size"]) == ("0", "0")
    assert int(gateway.limits["Max address space"]) == MEMORY_BYTES


def test_gateway_has_no_descriptor_but_sockets_and_its_log(gateway: Process, home: Path) -> None:
    files = [path for path in gateway.descriptors if path.startswith("/")]
    log = re.compile(rf"/dev/null|{home.resolve()}/boxes/\w+/connections/connections\.log")
    assert [path for path in files if not log.fullmatch(path)] == []
    rest = {re.sub(r":?\[.*", "", path) for path in gateway.descriptors if not path.startswith("/")}
    assert rest <= {"socket", "anon_inode", "pipe"}


def test_gateway_sees_only_what_was_granted_and_writes_only_its_log(gateway: Process, home: Path) -> None:
    granted = {"/", "/proc", "/gate", RESOLV_CONF, *PROGRAMS, *SYSTEM, *DEVICES}
    granted |= {sys.prefix, sys.base_prefix, str(SOURCE_ROOT)}
    logs = re.compile(rf"/proc/.*|{home}/boxes/\w+/connections")
    assert [place for place in gateway.mounts if place not in granted and not logs.fullmatch(place)] == []
    (writable,) = gateway.writable_mounts
    assert logs.fullmatch(writable)
