"""Names in a box without rules, whichever name servers its host has."""

from __future__ import annotations

import pytest

from guest.wire.constants import DNS_ADDRESS, DNS_ADDRESS6
from tests.framework.internet.namespaces import GOOD, GOOD6, HOST6, HOST_HOME, LONG, Internet
from tests.framework.internet.probing import Row, dns, internet, wrong_outcomes

__all__ = ["internet"]


@pytest.mark.parametrize(
    ("servers", "asked"),
    [
        (("127.0.0.1",), DNS_ADDRESS),
        ((HOST6, HOST_HOME), DNS_ADDRESS),
        ((HOST6,), DNS_ADDRESS6),
    ],
)
def test_box_asks_its_host_s_name_servers(internet: Internet, servers: tuple[str, ...], asked: str) -> None:
    """Over UDP and TCP, so that an answer too long for a datagram comes too."""
    internet.resolv_conf.write_text("".join(f"nameserver {server}\n" for server in servers))
    rows: tuple[Row, ...] = (
        (dns("good.test", address=asked), f"answer {GOOD}"),
        (dns("good.test", address=asked, kind="AAAA", over="tcp"), f"answer {GOOD6}"),
        (dns("nobody.test", address=asked, over="tcp"), "nxdomain"),
        (dns("long.test", address=asked), "answer"),
        (dns("long.test", address=asked, over="tcp"), " ".join(("answer", *sorted(LONG)))),
    )
    try:
        wrong = wrong_outcomes(internet, f"names-{len(servers)}-{servers[0][:4].strip(':')}", (), rows)
        shown = internet.boxlite.out(
            "run", "--rm", "probe", "sh", "-c", "cat /etc/resolv.conf; getent ahosts long.test | wc -l"
        )
    finally:
        internet.resolv_conf.write_text("nameserver 127.0.0.1\n")
    assert not wrong, "\n".join(wrong)
    found = shown.splitlines()
    assert found[0] == f"nameserver {asked}"
    assert int(found[-1]) >= len(LONG), "what a program of the box finds by itself"
