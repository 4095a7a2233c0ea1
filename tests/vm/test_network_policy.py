"""The policy from inside: what root in a box can reach, as a matrix of rules, protocols, paths and tricks.

The servers are ours, in a network namespace that stands for the internet; see tests/framework/internet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.framework.internet.namespaces import (
    DOH,
    EVIL,
    EVIL6,
    GOOD,
    GOOD6,
    HOST_HOME,
    HOST_WORLD,
    METADATA,
    OPEN_RESOLVER,
    OTHER,
    PRIVATE,
    PRIVATE6,
    SHARED,
    Internet,
)
from tests.framework.internet.probing import Row, dns, internet, ping, reached, tcp, udp, wrong_outcomes

__all__ = ["internet"]

ALIAS, RESOLVER = "192.168.127.254", "192.168.127.1"
REFUSED = {"http": "http 403", "post": "http 403", "two hosts": "http 403", "absolute": "http 403"}


def refused(say: str) -> str:
    """How a refusal is told to who speaks so."""
    return REFUSED.get(say, "tls alert" if say else "reset")


# ---------------------------------------------------------------- rules by name

NAMES = (
    "good.test", "*.wild.test", "port.test:8443", "six.test", "rebind.test", "private.test", "shared.test", "loop.test",
    "zero.test", "mapped.test", "meta.test", "link.test", "subnet.test", "ula.test", "nat64.test",
)  # fmt: skip
LEADING_ASTRAY = (
    "private.test", "shared.test", "loop.test", "zero.test", "mapped.test", "meta.test", "link.test", "subnet.test",
    "ula.test", "nat64.test",
)  # fmt: skip


def names_matrix() -> Iterator[Row]:
    for say in ("http", "post", "tls", "tls grease", "split records"):
        port = 80 if say in ("http", "post") else 443
        for address in (GOOD, EVIL, PRIVATE, OPEN_RESOLVER, DOH, GOOD6, EVIL6):
            yield tcp(address, port, say, "good.test"), reached(GOOD, port)
            yield tcp(address, port, say, "evil.test"), refused(say)
        for address in (METADATA, "168.63.129.16", RESOLVER, "192.168.127.77"):
            yield tcp(address, port, say, "good.test"), refused(say)
    for name in LEADING_ASTRAY:
        yield tcp(GOOD, 80, "http", name), refused("http")
        yield tcp(GOOD, 443, "tls", name), refused("tls")
        yield (
            dns(name),
            "nxdomain" if name not in ("mapped.test", "link.test", "ula.test", "nat64.test") else "answer",
        )
        yield dns(name, kind="AAAA"), "nxdomain" if name in ("loop.test", "mapped.test", "link.test", "ula.test", "nat64.test") else "answer"  # fmt: skip
    yield tcp(GOOD, 80, "http", "rebind.test"), reached(GOOD, 80)
    yield dns("rebind.test"), f"answer {GOOD}"
    yield tcp(EVIL, 443, "tls", "six.test"), reached(GOOD6, 443)
    yield tcp(EVIL, 443, "tls", "a.wild.test"), reached(GOOD, 443)
    yield tcp(GOOD, 443, "tls", "wild.test"), "tls alert"
    yield tcp(GOOD, 443, "tls", "b.a.wild.test"), "tls alert"  # denied beside the wildcard
    yield tcp(GOOD, 443, "tls", "evilwild.test"), "tls alert"
    yield tcp(GOOD, 443, "tls", "good.test.evil.test"), "tls alert"
    yield tcp(EVIL, 8443, "tls", "port.test"), reached(GOOD, 8443)
    yield tcp(GOOD, 443, "tls", "port.test"), "tls alert"
    yield tcp(GOOD, 80, "http", "port.test"), "http 403"
    yield tcp(EVIL, 443, "tls", "GOOD.Test"), reached(GOOD, 443)
    yield tcp(EVIL, 443, "tls", "good.test."), reached(GOOD, 443)
    yield tcp(EVIL, 80, "http", "good.test:80"), reached(GOOD, 80)
    yield tcp(EVIL, 443, "tls", "good.test", slowly=True), reached(GOOD, 443)
    yield tcp(EVIL, 80, "http", "good.test", slowly=True), reached(GOOD, 80)
    yield tcp(EVIL, 8080, "http", "good.test"), reached(GOOD, 8080)
    yield from tricks_with_names()
    yield from questions_under_names()
    yield from packets_under_names()


def tricks_with_names() -> Iterator[Row]:
    for say in ("two hosts", "absolute", "ech", "two names"):
        yield tcp(GOOD, 443, say, "good.test"), refused(say)
        yield tcp(GOOD, 80, say, "good.test"), refused(say)
    for port in (80, 443, 5222, 8443):
        yield tcp(GOOD, port, raw="hello, no name here"), "reset"
        yield tcp(GOOD, port, "h2"), "reset"
    yield tcp(GOOD, 443, raw="SSH-2.0-probe\r\n"), "reset"
    yield tcp(GOOD, 443, raw="\x16\x03not a hello at all"), "reset"
    yield tcp(GOOD, 22), "reset"  # the server would speak first, and no name would ever come
    yield tcp(GOOD, 443, "http", "good.test"), reached(GOOD, 443)
    yield tcp(GOOD, 80, "tls", "good.test"), reached(GOOD, 80)
    for host in (
        GOOD,
        f"[{GOOD6}]",
        "2130706433",
        "0x5db8d822",
        "localhost",
        "",
        "good.test evil.test",
        "good.test@evil.test",
    ):
        yield tcp(GOOD, 80, "http", host), "http 403"
    for name in ("", GOOD, "localhost", "good.test\0.evil.test", "*.wild.test"):
        yield tcp(GOOD, 443, "tls", name), "tls alert"
    yield tcp(OPEN_RESOLVER, 443, "tls", "dns.google"), "tls alert"  # DNS over HTTPS
    yield tcp(OPEN_RESOLVER, 443, "tls"), "tls alert"
    yield tcp(DOH, 853, "tls", "one.one.one.one"), "tls alert"  # DNS over TLS
    yield tcp(ALIAS, 8000, raw="hi"), "REACHED loopback 8000"
    yield tcp(ALIAS, 8000, "http", "evil.test"), "REACHED loopback 8000"
    yield tcp(ALIAS, 8600, raw="hi"), "REACHED loopback 8600"  # only on ::1
    yield tcp(ALIAS, 9, raw="hi"), "reset"
    yield tcp("127.0.0.1", 8000, raw="hi"), "refused"
    yield tcp("192.168.127.2", 8000, raw="hi"), "refused"
    yield tcp("::1", 8000, raw="hi"), "refused"
    yield {**tcp(EVIL, 443, "tls", "good.test"), "op": "many", "count": 200}, reached(GOOD, 443)


def questions_under_names() -> Iterator[Row]:
    for server in (RESOLVER, OPEN_RESOLVER, GOOD, EVIL6):
        for over in ("udp", "tcp"):
            yield dns("good.test", address=server, over=over), f"answer {GOOD}"
            yield dns("evil.test", address=server, over=over), "nxdomain"
            yield dns("secret-data.evil.test", address=server, over=over), "nxdomain"
    yield dns("good.test", kind="AAAA"), f"answer {GOOD6}"
    yield dns("good.test", kind="TXT"), "answer some text"
    yield dns("good.test", kind="HTTPS"), "answer"
    yield dns("good.test", kind="ANY"), "notimp"
    yield dns("evil.test", kind="TXT"), "nxdomain"
    yield dns("GOOD.test"), f"answer {GOOD}"
    yield dns("nothing.wild.test"), "nxdomain"
    yield dns("b.a.wild.test"), "nxdomain"
    yield dns("host.boxlite.internal"), f"answer {ALIAS}"
    yield dns("host.boxlite.internal", kind="AAAA"), "answer"
    yield dns("34.216.184.93.in-addr.arpa"), "nxdomain"
    yield dns("good.test", address=METADATA), "unreachable"


def packets_under_names() -> Iterator[Row]:
    for address in (GOOD, EVIL, METADATA, RESOLVER, OPEN_RESOLVER):
        yield udp(address, 123), "unreachable"
        yield udp(address, 443), "unreachable"
    yield udp(GOOD6, 123), "prohibited"
    yield udp(ALIAS, 8001), "REACHED loopback 8001"
    for address in (GOOD, EVIL, METADATA):
        yield ping(address), "unreachable 13"
    yield ping(GOOD6), "unreachable 1"
    for address in ("127.0.0.1", "192.168.127.2", "::1", ALIAS):
        yield ping(address), "echo"
    yield {"op": "interfaces"}, "lo"
    for address in (GOOD, METADATA, HOST_HOME):
        yield {"op": "packet", "how": "packet", "address": address}, "sent"
        yield {"op": "packet", "how": "ip", "address": address}, "sent"
        for protocol in (2, 41, 47, 50, 132):
            yield {"op": "packet", "how": "protocol", "protocol": protocol, "address": address}, "sent"


# ---------------------------------------------------------------- rules by address

ADDRESSES = (GOOD, "10.9.8.0/24:80", f"[{GOOD6}]:443", "private.test", "11.0.0.0/24")


def addresses_matrix() -> Iterator[Row]:
    for say in ("http", "tls", "ech", ""):
        text = {"raw": "plain"} if not say else {}
        yield tcp(GOOD, 80, say, "evil.test", **text), reached(GOOD, 80)
        yield tcp(GOOD, 443, say, "good.test", **text), reached(GOOD, 443)
        yield tcp(GOOD, 8080, say, "good.test", **text), refused(say)
        yield tcp(PRIVATE, 80, say, "x.test", **text), reached(PRIVATE, 80)
        yield tcp(PRIVATE, 443, say, "x.test", **text), refused(say)
        yield tcp(GOOD6, 443, say, "x.test", **text), reached(GOOD6, 443)
        yield tcp(GOOD6, 80, say, "x.test", **text), refused(say)
        for address in (EVIL, OTHER, SHARED, METADATA, EVIL6, PRIVATE6, "192.168.127.9"):
            yield tcp(address, 443, say, "good.test", **text), refused(say)
        for port in (8000, 80):
            yield tcp(ALIAS, port, say, "host.boxlite.internal", **text), refused(say)
        yield tcp(HOST_HOME, 9100, say, "x.test", **text), refused(say)  # this host by another address
        yield tcp(HOST_WORLD, 80, say, "x.test", **text), reached(HOST_WORLD, 80)
    yield tcp(EVIL, 80, "http", "private.test"), reached(PRIVATE, 80)
    yield tcp(EVIL, 443, "tls", "private.test"), "tls alert"
    yield tcp(GOOD, 22), reached(GOOD, 22)
    yield udp(GOOD, 123), reached(GOOD, 123)
    yield udp(GOOD, 5000), reached(GOOD, 5000)
    yield udp(HOST_HOME, 9100), "unreachable"
    for address in (EVIL, PRIVATE, ALIAS, METADATA):
        yield udp(address, 123), "unreachable"
    yield udp(GOOD6, 123), "prohibited"
    yield dns("anything.test", address=GOOD), "answer 6.6.6.6"  # that server is allowed by its address
    yield dns("private.test"), f"answer {PRIVATE}"
    yield dns("private.test", address=OPEN_RESOLVER), f"answer {PRIVATE}"
    yield dns("good.test"), "nxdomain"
    yield dns("host.boxlite.internal"), "nxdomain"
    yield ping(GOOD), "echo"
    for address in (EVIL, PRIVATE, ALIAS, HOST_HOME):
        yield ping(address), "unreachable 13"
    yield ping(GOOD6), "unreachable 1"
    yield {"op": "interfaces"}, "lo"


# ---------------------------------------------------------------- denials only


def denials_matrix() -> Iterator[Row]:
    for say in ("http", "tls"):
        port = 80 if say == "http" else 443
        yield tcp(GOOD, port, say, "good.test"), reached(GOOD, port)
        yield tcp(GOOD, port, say, "other.test"), reached(GOOD, port)
        yield tcp(GOOD, port, say, "evil.test"), refused(say)
        yield tcp(EVIL, port, say, "good.test"), refused(say)  # the address is that of a denied host
        yield tcp(EVIL6, port, say, "good.test"), refused(say)
        yield tcp(OTHER, port, say, "good.test"), refused(say)
        yield tcp(PRIVATE, port, say, "x.test"), reached(PRIVATE, port)
        yield tcp(METADATA, port, say, "x.test"), refused(say)
        yield tcp(GOOD6, port, say, "x.test"), reached(GOOD6, port)
    yield tcp(GOOD, 443, "ech", "good.test"), "tls alert"
    yield tcp(GOOD, 8443, "tls", "good.test"), "tls alert"
    yield tcp(GOOD, 22), reached(GOOD, 22)
    yield tcp(GOOD, 5222, raw="hello"), reached(GOOD, 5222)
    yield tcp(EVIL, 5222, raw="hello"), "reset"
    yield tcp(ALIAS, 8000, raw="hi"), "REACHED loopback 8000"
    yield tcp(HOST_HOME, 9100, raw="hi"), "REACHED loopback 9100"
    yield udp(GOOD, 123), reached(GOOD, 123)
    yield udp(GOOD6, 123), reached(GOOD6, 123)
    yield udp(OTHER, 123), "unreachable"
    yield ping(GOOD), "echo"
    yield ping(GOOD6), "echo"
    yield ping(OTHER), "unreachable 13"
    yield dns("good.test"), f"answer {GOOD}"
    yield dns("private.test"), f"answer {PRIVATE}"
    yield dns("evil.test"), "nxdomain"
    yield dns("evil.test", address=OPEN_RESOLVER), "nxdomain"
    yield dns("loop.test"), "nxdomain"
    yield dns("meta.test"), "nxdomain"


MATRICES = {
    "names": (tuple(names_matrix()), [word for name in NAMES for word in ("--allow-net", name)] + ["--deny-net", "b.a.wild.test"]),
    "addresses": (
        tuple(addresses_matrix()),
        [word for rule in ADDRESSES for word in ("--allow-net", rule)]
        + ["--deny-net", f"{GOOD}:8080", "--host-access", "disabled"],
    ),
    "denials": (
        tuple(denials_matrix()),
        ["--deny-net", "evil.test", "--deny-net", "93.184.217.0/24", "--deny-net", f"{GOOD}:8443"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rules", MATRICES)
def test_policy_from_inside_a_box_is_what_the_rules_say(internet: Internet, rules: str) -> None:
    matrix, flags = MATRICES[rules]
    wrong = wrong_outcomes(internet, rules, flags, matrix)
    assert not wrong, f"{len(wrong)} of {len(matrix)}:\n" + "\n".join(wrong)
    assert not internet.sniffed.exists(), internet.sniffed.read_text()


def test_matrix_has_a_hundred_and_fifty_cases() -> None:
    assert sum(len(matrix) for matrix, _ in MATRICES.values()) >= 150


def test_network_log_and_events_name_rule_and_remedy_of_every_denial(internet: Internet) -> None:
    log = [
        json.loads(line)
        for line in internet.boxlite.out("network", "log", "--format", "json", "names").splitlines()
    ]
    denied = [entry for entry in log if entry["Verdict"] == "denied"]
    evil = next(entry for entry in denied if entry["Name"] == "evil.test" and entry["Protocol"] == "tcp")
    assert evil["Remedy"] == "--allow-net evil.test" and "no --allow-net rule" in evil["Reason"]
    wild = next(entry for entry in denied if entry["Name"] == "b.a.wild.test")
    assert wild["Rule"] == "--deny-net b.a.wild.test"
    assert all(entry["Reason"] for entry in denied)
    events = internet.boxlite.out(
        "events", "--no-follow", "--since", "1h", "--filter", "event=network_denied", "--format", "json"
    )
    told = [json.loads(line) for line in events.splitlines()]
    assert any(event["Attributes"].get("name") == "evil.test" and event["Name"] == "names" for event in told)


def test_names_that_are_denied_never_reach_the_hosts_name_server(internet: Internet) -> None:
    asked = (internet.sniffed.parent / "questions").read_text()
    assert "good.test" in asked and "secret-data" not in asked


def test_bytes_and_connections_are_counted_by_name_under_rules(internet: Internet) -> None:
    internet.boxlite(
        "run", "-d", "--name", "counted", "--allow-net", "good.test", "--allow-net", PRIVATE, "probe", "sleep", "600",
        check=True,
    )  # fmt: skip
    cases = [
        *[tcp(EVIL, 80, "http", "good.test")] * 3,
        *[tcp(EVIL, 80, "http", "evil.test")] * 2,
        {"op": "bulk", "way": "in", "address": PRIVATE, "port": 5222, "bytes": 300_000},
        {"op": "bulk", "way": "out", "address": PRIVATE, "port": 5222, "bytes": 200_000},
    ]
    internet.boxlite(
        "exec", "-i", "counted", "python3", "-SBs", "/probe.py", stdin=json.dumps(cases).encode(), check=True
    )
    counts = json.loads(internet.boxlite.out("network", "hosts", "--format", "json", "counted"))
    by_host = counts["by_host"]
    request = len("GET / HTTP/1.1\r\nHost: good.test\r\nUser-Agent: probe\r\n\r\n")
    assert (by_host["good.test"]["connections"], by_host["good.test"]["bytes_sent"]) == (3, 3 * request)
    assert by_host["evil.test"]["denied"] == 2 and by_host["evil.test"]["connections"] == 0
    assert by_host[PRIVATE]["connections"] == 2
    assert by_host[PRIVATE]["bytes_received"] >= 300_000 and by_host[PRIVATE]["bytes_sent"] >= 200_000
    (stats,) = json.loads(internet.boxlite.out("stats", "--no-stream", "--format", "json", "counted"))
    assert stats["NetworkByHost"]["good.test"] == by_host["good.test"]
    internet.boxlite("rm", "-f", "counted", check=True)
