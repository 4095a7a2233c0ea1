from __future__ import annotations

from pathlib import Path

import pytest

from engine.host.resolvers import Resolvers, asked_server, find_resolvers, parse_resolv_conf, resolver_file


def test_parse_takes_servers_and_the_last_search() -> None:
    text = "# mine\nnameserver 10.0.0.1\nnameserver 2001:db8::1\nsearch a.example\nsearch b.example c.example\noptions edns0\n"
    assert parse_resolv_conf(text) == Resolvers(
        servers=("10.0.0.1", "2001:db8::1"), search=("b.example", "c.example")
    )


def test_parse_leaves_out_what_a_box_cannot_reach() -> None:
    text = "nameserver\nnameserver fe80::1%eth0\nnameserver nonsense\n;nameserver 1.1.1.1\nnameserver 127.0.0.1\nnameserver 9.9.9.9\nsearch .\n"
    assert parse_resolv_conf(text) == Resolvers(servers=("9.9.9.9",))


def test_find_goes_behind_a_stub_on_loopback(tmp_path: Path) -> None:
    stub, real = tmp_path / "resolv.conf", tmp_path / "real.conf"
    stub.write_text("nameserver 127.0.0.53\nsearch lan\n")
    real.write_text("nameserver 192.168.1.1\n")
    assert find_resolvers((stub, real)) == Resolvers(servers=("192.168.1.1",), search=("lan",))


def test_find_keeps_the_stub_when_nothing_is_behind_it(tmp_path: Path) -> None:
    stub = tmp_path / "resolv.conf"
    stub.write_text("nameserver 127.0.0.53\n")
    assert find_resolvers((stub, tmp_path / "none")) == Resolvers(servers=("127.0.0.53",), stub=True)


def test_find_without_any_file_has_no_server(tmp_path: Path) -> None:
    assert find_resolvers((tmp_path / "none",)) == Resolvers(stub=True)


def test_resolver_file_is_the_one_the_servers_come_from(tmp_path: Path) -> None:
    stub, real, empty = tmp_path / "resolv.conf", tmp_path / "real.conf", tmp_path / "empty.conf"
    stub.write_text("nameserver 127.0.0.53\nsearch lan\n")
    real.write_text("nameserver 192.168.1.1\n")
    empty.write_text("search lan\n")
    assert resolver_file((stub, real)) == str(real)
    assert resolver_file((stub, tmp_path / "none")) == str(stub)
    assert resolver_file((empty,)) is None
    assert resolver_file((tmp_path / "none",)) is None


@pytest.mark.parametrize(
    ("servers", "ipv6", "asked"),
    [
        (("10.0.0.1", "2001:db8::1"), True, "10.0.0.1"),
        (("2001:db8::1", "10.0.0.1"), True, "10.0.0.1"),
        (("2001:db8::1", "2001:db8::2"), True, "2001:db8::1"),
        (("2001:db8::1",), False, None),
        (("127.0.0.53",), True, "127.0.0.53"),
        ((), True, None),
    ],
)
def test_asked_server_is_one_over_ipv4_if_there_is_any(
    tmp_path: Path, servers: tuple[str, ...], ipv6: bool, asked: str | None
) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("".join(f"nameserver {server}\n" for server in servers))
    assert asked_server(str(file), ipv6=ipv6) == asked


def test_asked_server_of_no_file_is_none(tmp_path: Path) -> None:
    assert asked_server(None, ipv6=True) is None
    assert asked_server(str(tmp_path / "none"), ipv6=True) is None
