from __future__ import annotations

from guest.identity import hosts_file, resolv_file


def test_hosts_file_adds_entries_behind_the_loopback() -> None:
    text = hosts_file([("192.168.127.254", ("host.boxlite.internal",)), ("10.0.0.1", ("a", "b"))])

    assert text.startswith("127.0.0.1\tlocalhost\n")
    assert text.endswith("192.168.127.254\thost.boxlite.internal\n10.0.0.1\ta b\n")


def test_resolv_file_lists_servers_and_search() -> None:
    assert resolv_file(["1.1.1.1", "::1"], ["lan"]) == "search lan\nnameserver 1.1.1.1\nnameserver ::1\n"
    assert resolv_file([], []) == ""
