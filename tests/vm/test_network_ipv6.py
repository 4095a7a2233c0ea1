"""IPv6 where the host has it: out of a box, into one, and only where its rules allow it."""

from __future__ import annotations

import subprocess

import pytest

from tests.framework.internet.namespaces import EVIL6, GOOD, GOOD6, HOST6, HOST_HOME, PRIVATE6, Internet
from tests.framework.internet.probing import Row, dns, internet, ping, reached, tcp, udp, wrong_outcomes
from tests.framework.waiting import eventually

__all__ = ["internet"]

HOST_ALIAS = "192.168.127.254"
OPEN: tuple[Row, ...] = (
    (tcp(GOOD6, 80, "http", "good.test"), reached(GOOD6, 80)),
    (tcp(GOOD6, 443, "tls", "good.test"), reached(GOOD6, 443)),
    (tcp(PRIVATE6, 5222, raw="hello"), reached(PRIVATE6, 5222)),
    (tcp(GOOD6, 22), reached(GOOD6, 22)),
    (tcp(GOOD6, 9), "refused"),
    ({**tcp(GOOD6, 80, "http", "good.test"), "op": "many", "count": 50}, reached(GOOD6, 80)),
    ({"op": "bulk", "way": "in", "address": GOOD6, "port": 80, "bytes": 8 << 20}, str(8 << 20)),
    ({"op": "bulk", "way": "out", "address": GOOD6, "port": 80, "bytes": 8 << 20}, str(8 << 20)),
    (udp(GOOD6, 123), reached(GOOD6, 123)),
    (udp(EVIL6, 5000, raw="x" * 1200), reached(EVIL6, 5000)),
    (ping(GOOD6), "echo"),
    (ping("::1"), "echo"),
    (dns("good.test", kind="AAAA"), f"answer {GOOD6}"),
    (dns("six.test", kind="AAAA"), f"answer {GOOD6}"),
    (dns("four.test", kind="AAAA"), "answer"),
    (dns("anything.test", address=GOOD6), "answer 6.6.6.6"),
    (tcp(GOOD, 80, "http", "good.test"), reached(GOOD, 80)),
    (tcp(GOOD, 9), "refused"),
    (tcp(HOST_ALIAS, 9), "refused"),
    (udp(GOOD, 123), reached(GOOD, 123)),
    (ping(GOOD), "echo"),
    (tcp(HOST_ALIAS, 8000, raw="hi"), "REACHED loopback 8000"),
    (udp(HOST_ALIAS, 8001), "REACHED loopback 8001"),
)
ADDRESS_RULES = ("--allow-net", "2606:4700::30/124", "--deny-net", f"[{GOOD6}]:8080")
BY_ADDRESS: tuple[Row, ...] = (
    (tcp(GOOD6, 80, "http", "x.test"), reached(GOOD6, 80)),
    (tcp(GOOD6, 22), reached(GOOD6, 22)),
    (tcp(GOOD6, 8080, "http", "x.test"), "http 403"),
    (udp(GOOD6, 123), reached(GOOD6, 123)),
    (ping(GOOD6), "echo"),
    (tcp(EVIL6, 80, "http", "good.test"), "http 403"),
    (tcp(EVIL6, 443, "tls", "good.test"), "tls alert"),
    (tcp(PRIVATE6, 5222, raw="hello"), "reset"),
    (tcp(GOOD, 80, "http", "good.test"), "http 403"),
    (tcp("::ffff:93.184.216.34", 80, "http", "x.test"), "http 403"),
    (tcp("64:ff9b::5db8:d822", 80, "http", "x.test"), "http 403"),
    (udp(EVIL6, 123), "prohibited"),
    (ping(EVIL6), "unreachable 1"),
    (dns("good.test", kind="AAAA"), "nxdomain"),
    (dns("good.test", kind="AAAA", address=EVIL6), "nxdomain"),
)
NAME_RULES = ("--allow-net", "six.test", "--allow-net", "four.test")
BY_NAME: tuple[Row, ...] = (
    (tcp(GOOD6, 443, "tls", "six.test"), reached(GOOD6, 443)),
    (tcp(EVIL6, 80, "http", "six.test"), reached(GOOD6, 80)),
    (tcp(GOOD, 443, "tls", "six.test"), reached(GOOD6, 443)),
    (tcp(EVIL6, 443, "tls", "four.test"), reached(GOOD, 443)),
    (tcp(GOOD6, 443, "tls", "evil.test"), "tls alert"),
    (tcp(GOOD6, 22), "reset"),
    (udp(GOOD6, 123), "prohibited"),
    (ping(GOOD6), "unreachable 1"),
    (dns("six.test", kind="AAAA"), f"answer {GOOD6}"),
    (dns("six.test"), "answer"),
    (dns("evil.test", kind="AAAA"), "nxdomain"),
)
CASES: dict[str, tuple[tuple[str, ...], tuple[Row, ...]]] = {
    "open": ((), OPEN),
    "by-address": (ADDRESS_RULES, BY_ADDRESS),
    "by-name": (NAME_RULES, BY_NAME),
}


@pytest.mark.parametrize("name", CASES)
def test_ipv6_of_a_box_reaches_what_it_may(internet: Internet, name: str) -> None:
    flags, rows = CASES[name]
    wrong = wrong_outcomes(internet, f"six-{name}", flags, rows)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("flags", [(), ("--allow-net", "nothing.example")])
def test_port_published_on_an_ipv6_address_is_reached_there(
    internet: Internet, flags: tuple[str, ...]
) -> None:
    name = "served-restricted" if flags else "served-open"
    internet.boxlite(
        "run", "-d", "--name", name, *flags, "-p", f"[{HOST6}]:8099:80", "probe", "nc", "-lk", "-p", "80", "-e", "echo", "hello",
        check=True,
    )  # fmt: skip

    def answer(address: str) -> str:
        ask = f"import socket; s = socket.create_connection(('{address}', 8099), timeout=5); s.send(b'x'); print(s.recv(9).decode())"
        enter = ("nsenter", f"--net=/run/netns/{internet.world_namespace}", "python3", "-c", ask)
        return subprocess.run(enter, capture_output=True, text=True, check=False).stdout.strip()

    eventually(lambda: answer(HOST6) == "hello", within_s=20)
    assert answer(HOST_HOME) == ""
    internet.boxlite("rm", "-f", name, check=True)
