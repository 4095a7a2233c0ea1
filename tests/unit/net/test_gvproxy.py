"""What gvproxy is started with, and asked for; what it may do."""

from __future__ import annotations

import os
from pathlib import Path

from engine.jailer.syscalls import gvproxy_profile
from engine.model import PortSpec, Protocol
from engine.net.gvproxy import build_gvproxy_argv, expose_document, gvproxy_jail

TCP = PortSpec(box_port=80, host_port=8080, host_ip="127.0.0.1")
UDP6 = PortSpec(box_port=53, host_port=5353, host_ip="::1", protocol=Protocol.UDP)


def test_gvproxy_argv_listens_for_qemu_and_publishes_nothing_by_itself() -> None:
    assert build_gvproxy_argv("/usr/bin/gvproxy", "/net") == (
        "/usr/bin/gvproxy", "-listen-qemu", "unix:///net/machine.sock", "-listen", "unix:///net/control.sock",
        "-mtu", "65520", "-ssh-port", "-1",
    )  # fmt: skip


def test_expose_document_names_both_addresses_and_the_protocol() -> None:
    assert expose_document(TCP) == {
        "local": "127.0.0.1:8080",
        "remote": "192.168.127.2:80",
        "protocol": "tcp",
    }
    assert expose_document(UDP6) == {"local": "[::1]:5353", "remote": "192.168.127.2:53", "protocol": "udp"}


def test_gvproxy_may_bind_what_is_published_and_no_other_port(tmp_path: Path) -> None:
    jail = gvproxy_jail(os.path.realpath("/bin/true"), tmp_path, (TCP, UDP6))
    assert jail.listens == (5353, 8080)
    assert gvproxy_jail(os.path.realpath("/bin/true"), tmp_path).listens == ()


def test_gvproxy_sees_names_and_its_sockets_alone(tmp_path: Path) -> None:
    jail = gvproxy_jail(os.path.realpath("/bin/true"), tmp_path, resolver_file="/run/real.conf")
    inside = {grant.inside for grant in jail.grants if not grant.inside.startswith(("/usr", "/lib", "/bin"))}
    assert inside <= {"/net", "/etc/hosts", "/etc/resolv.conf", "/etc/ld.so.cache"}
    assert not jail.capabilities and jail.network


def test_gvproxy_profile_has_no_other_program_or_process() -> None:
    assert {"fork", "vfork", "ptrace", "mount"} <= set(gvproxy_profile().refused)
