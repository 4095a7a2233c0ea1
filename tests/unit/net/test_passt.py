"""Who passt is, and what it may do, before it confines itself."""

import itertools
import os
import socket
import sys
from pathlib import Path

import pytest

from engine.errors import UnsupportedError
from engine.jailer.grants import Identity
from engine.model import PortSpec, Protocol
from engine.net.passt import (
    BURST_BYTES,
    CAPABILITIES,
    build_passt_argv,
    find_passt,
    hold_bursts,
    needs_privilege,
    passt_jail,
)
from engine.net.plan import check_ports_for_passt
from engine.process import find_program

pytestmark = pytest.mark.skipif(find_program("passt") is None, reason="passt is not installed")
WHO = Identity(uid=1900000000, gid=1900000000, shared_gid=1879048192)
HIGH = PortSpec(box_port=80, host_port=8080)
LOW = PortSpec(box_port=80, host_port=1)
UDP = PortSpec(box_port=53, host_port=5353, protocol=Protocol.UDP)


def passt() -> str:
    found = find_passt()
    assert found is not None
    return found


@pytest.mark.skipif(needs_privilege(()), reason="this host keeps user namespaces from ordinary users")
def test_passt_of_root_begins_as_its_own_user_without_capabilities() -> None:
    jail = passt_jail(passt(), (HIGH,), identity=WHO)
    assert (jail.identity, jail.capabilities) == (WHO, ())


@pytest.mark.skipif(not needs_privilege((LOW,)), reason="every port is everybody's here")
def test_passt_of_root_that_binds_a_port_of_root_s_becomes_its_user_by_itself() -> None:
    jail = passt_jail(passt(), (LOW, HIGH), identity=WHO)
    assert (jail.identity, jail.capabilities) == (None, CAPABILITIES)


def test_passt_of_an_ordinary_user_has_neither() -> None:
    jail = passt_jail(passt(), (LOW,))
    assert (jail.identity, jail.capabilities) == (None, ())


def test_passt_may_bind_what_is_published_and_what_the_kernel_chooses() -> None:
    assert passt_jail(passt(), (HIGH, UDP)).listens == (0, 8080)


def test_passt_is_the_one_for_this_processor_that_starts_no_other() -> None:
    """Its filter has no room for another program."""
    jail = passt_jail(passt())
    assert passt() in {grant.path for grant in jail.grants if grant.executes}
    assert os.access(passt(), os.X_OK)
    assert jail.syscalls is not None
    assert {"execveat", "fork", "ptrace"} <= set(jail.syscalls.refused)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_pair_of_the_network_has_room_for_a_burst_of_passt() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        room = hold_bursts(ours)
        allowed = int(Path("/proc/sys/net/core/wmem_max").read_text())
        assert room >= min(allowed, BURST_BYTES)
        ours.setblocking(False)
        assert ours.send(bytes(room // 2)) == room // 2  # half is the kernel's own


def told(*ports: PortSpec) -> list[str]:
    """What passt is told of TCP ports."""
    argv = build_passt_argv("passt", 3, ports)
    return [value for flag, value in itertools.pairwise(argv) if flag == "--tcp-ports"]


def test_port_on_every_address_of_both_families_is_told_once() -> None:
    both = (PortSpec(box_port=80, host_port=8080), PortSpec(box_port=80, host_port=8080, host_ip="::"))
    check_ports_for_passt(both)
    assert told(*both) == ["8080:80"]
    assert told(*both, LOW) == ["8080:80", "0.0.0.0/1:80"]


@pytest.mark.parametrize(
    "other",
    [
        PortSpec(box_port=80, host_port=8080, host_ip="::1"),
        PortSpec(box_port=81, host_port=8080, host_ip="::"),
    ],
)
def test_host_port_on_two_addresses_is_refused_by_name(other: PortSpec) -> None:
    first = PortSpec(box_port=80, host_port=8080, host_ip="127.0.0.1" if other.box_port == 80 else "0.0.0.0")
    with pytest.raises(UnsupportedError, match="8080/tcp is published on") as caught:
        check_ports_for_passt((first, other))
    assert caught.value.hint is not None


def test_same_number_over_tcp_and_udp_is_no_conflict() -> None:
    check_ports_for_passt((UDP, PortSpec(box_port=53, host_port=5353)))


def test_neighbours_are_answered_where_a_port_is_published_over_ipv6_alone() -> None:
    six = PortSpec(box_port=80, host_port=8080, host_ip="::1")
    assert "--no-ndp" in build_passt_argv("passt", 3, (HIGH,), ipv6=True)
    assert "--no-ndp" not in build_passt_argv("passt", 3, (HIGH, six), ipv6=True)
