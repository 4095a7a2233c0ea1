"""Words of a command line as values: what is right is read back, what is wrong is named."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxlite_cli import parsers
from engine.errors import InvalidArgumentError
from engine.model import Protocol, PullPolicy, RestartKind

ports = st.integers(1, 65535)


@given(st.integers(0, 10**9), st.sampled_from(["", "b", "k", "m", "g", "K", "MB", "GiB", "kib"]))
def test_size_with_any_unit_counts_in_binary(number: int, unit: str) -> None:
    factor = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}[unit.lower()[:1]]
    assert parsers.parse_size(f"{number}{unit}") == number * factor


@given(st.integers(1, 10**6))
def test_memory_without_a_unit_is_mib(number: int) -> None:
    assert parsers.parse_memory_mib(str(number)) == number
    assert parsers.parse_memory_mib(f"{number}m") == number
    assert parsers.parse_memory_mib(f"{number}g") == number * 1024


def test_sizes_are_rounded_up_to_whole_units() -> None:
    assert parsers.parse_memory_mib("1.5m") == 2
    assert parsers.parse_disk_size_gb("512m") == 1
    assert parsers.parse_disk_size_gb("20") == 20


@given(st.text(max_size=12))
def test_size_of_any_text_is_a_number_or_an_error(text: str) -> None:
    try:
        assert parsers.parse_size(text) >= 0
    except InvalidArgumentError as error:
        assert repr(text) in str(error)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_duration_of_several_units_is_their_sum(days: int, hours: int, minutes: int, seconds: int) -> None:
    whole = days * 86400 + hours * 3600 + minutes * 60 + seconds
    assert parsers.parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == whole
    assert parsers.parse_duration(str(whole)) == whole


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("1.5h", 5400), ("0", 0), ("90S", 90)])
def test_duration_forms(text: str, seconds: float) -> None:
    assert parsers.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "m", "5x", "1h30", "-1s", "1 h", "½h", "nan", "inf"])
def test_duration_wrong_is_quoted(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="duration"):
        parsers.parse_duration(text)


@given(ports, ports, st.sampled_from(list(Protocol)))
def test_port_with_host_port_and_protocol_is_read(host: int, box: int, protocol: Protocol) -> None:
    (port,) = parsers.parse_ports(f"{host}:{box}/{protocol}")
    assert (port.host_port, port.box_port, port.protocol, port.host_ip) == (host, box, protocol, "0.0.0.0")


@given(ports, st.ip_addresses(v=4))
def test_port_with_an_ipv4_address_is_read(box: int, address: object) -> None:
    (port,) = parsers.parse_ports(f"{address}::{box}")
    assert (port.host_ip, port.host_port, port.box_port) == (str(address), None, box)


@given(ports, ports, st.ip_addresses(v=6))
def test_port_with_an_ipv6_address_in_brackets_is_read(host: int, box: int, address: object) -> None:
    (port,) = parsers.parse_ports(f"[{address}]:{host}:{box}")
    assert (port.host_ip, port.host_port, port.box_port) == (str(address), host, box)


@given(ports)
def test_port_alone_lets_the_system_pick(box: int) -> None:
    (port,) = parsers.parse_ports(str(box))
    assert port.host_port is None


@given(st.integers(1, 60000), st.integers(1, 60000), st.integers(0, 50))
def test_port_ranges_are_paired(host: int, box: int, more: int) -> None:
    found = parsers.parse_ports(f"{host}-{host + more}:{box}-{box + more}")
    assert [(port.host_port, port.box_port) for port in found] == [
        (host + step, box + step) for step in range(more + 1)
    ]


@pytest.mark.parametrize(
    "text",
    ["", ":", "0", "65536", "80:", "80:0", "x:80", "1.2.3:80:80", "::1:80:80", "[::1]80", "80/sctp", "90-80", "1-2:3", "80:80:80:80", "8 0", "٣"],
)  # fmt: skip
def test_port_wrong_is_quoted(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parsers.parse_ports(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=20))
def test_port_of_any_text_is_ports_or_an_error(text: str) -> None:
    try:
        assert parsers.parse_ports(text)
    except InvalidArgumentError:
        return


def test_environment_later_wins_and_bare_names_are_copied(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=file\nB=file=x\nHOST\n", encoding="utf-8")
    found, warnings = parsers.parse_environment(
        ["A=option", "MISSING", "EMPTY="], [str(file)], {"HOST": "here"}
    )
    assert found == (("A", "option"), ("B", "file=x"), ("HOST", "here"), ("EMPTY", ""))
    assert warnings == ["environment variable MISSING is not set here; it is left out"]


@pytest.mark.parametrize("word", ["=x", "A B=1", " "])
def test_environment_wrong_name_is_quoted(word: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parsers.parse_environment([word], [], {})


def test_environment_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="/nope cannot be read: No such file"):
        parsers.parse_environment([], ["/nope"], {})


def test_labels_without_value_are_empty() -> None:
    assert parsers.parse_labels(["a=1", "b", "c=x=y"], []) == {"a": "1", "b": "", "c": "x=y"}


def test_ulimit_forms() -> None:
    one = parsers.parse_ulimit("nofile=1024")
    assert (one.name, one.soft, one.hard) == ("nofile", 1024, 1024)
    two = parsers.parse_ulimit("NPROC=10:-1")
    assert (two.name, two.soft, two.hard) == ("nproc", 10, -1)


@pytest.mark.parametrize("text", ["nofile", "=1", "nofile=a", "nofile=2:1", "nofile=-1:5", "nofile=1:2:3"])
def test_ulimit_wrong_is_quoted(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="ulimit"):
        parsers.parse_ulimit(text)


def test_restart_policies() -> None:
    assert parsers.parse_restart("on-failure:5").max_retries == 5
    assert parsers.parse_restart("always").kind is RestartKind.ALWAYS
    for wrong in ("sometimes", "always:3", "on-failure:x"):
        with pytest.raises(InvalidArgumentError):
            parsers.parse_restart(wrong)


def test_host_entries() -> None:
    assert parsers.parse_host_entry("db:10.0.0.2") == ("db", "10.0.0.2")
    assert parsers.parse_host_entry("db=[::1]") == ("db", "::1")
    assert parsers.parse_host_entry("db:::1") == ("db", "::1")
    assert parsers.parse_host_entry("gw:host-gateway") == ("gw", "host-gateway")
    for wrong in ("db", "db:", ":1.2.3.4", "db:name"):
        with pytest.raises(InvalidArgumentError):
            parsers.parse_host_entry(wrong)


@pytest.mark.parametrize(
    ("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", signal.SIGRTMIN + 3)]
)
def test_signal_forms(text: str, number: int) -> None:
    assert parsers.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "FOO", "TERM+1", "RTMIN+99", "-9"])
def test_signal_wrong_is_quoted(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parsers.parse_signal(text)


def test_detach_keys_forms() -> None:
    assert parsers.parse_detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parsers.parse_detach_keys("a,ctrl-[,ctrl-@") == b"a\x1b\x00"
    assert parsers.parse_detach_keys("") == b""
    for wrong in ("ctrl-", "ctrl-1", "ab", "ctrl-é"):
        with pytest.raises(InvalidArgumentError):
            parsers.parse_detach_keys(wrong)


def test_cpus_are_whole_and_capped() -> None:
    assert parsers.parse_cpus("2") == (2, None)
    assert parsers.parse_cpus("1.5")[0] == 2
    capped, warning = parsers.parse_cpus("999")
    assert capped == 255 and warning is not None
    for wrong in ("0", "-1", "many", "nan", "inf"):
        with pytest.raises(InvalidArgumentError):
            parsers.parse_cpus(wrong)


def test_pull_policy_words() -> None:
    assert parsers.parse_pull_policy("Always") is PullPolicy.ALWAYS
    with pytest.raises(InvalidArgumentError, match="pull is always"):
        parsers.parse_pull_policy("sometimes")
