"""What Landlock is asked to hold, by the version the kernel speaks."""

import struct

import pytest

from engine.jailer.closing import closing_steps
from engine.jailer.grants import Jail, read
from engine.jailer.landlock import bind_attributes, ruleset_attributes

BIND, CONNECT, SCOPES = 1, 2, 3


@pytest.mark.parametrize(
    ("abi", "network", "binds_any", "tcp"),
    [(4, False, True, BIND | CONNECT), (4, True, True, 0), (4, True, False, BIND), (7, True, False, BIND)],
)
def test_ruleset_holds_tcp_as_asked(abi: int, network: bool, binds_any: bool, tcp: int) -> None:
    attributes = ruleset_attributes(abi, network=network, binds_any=binds_any)
    assert struct.unpack_from("<Q", attributes, 8) == (tcp,)


def test_ruleset_that_leaves_files_alone_holds_the_rest() -> None:
    assert struct.unpack("<QQQ", ruleset_attributes(6, network=True, files=False, binds_any=False)) == (
        0,
        BIND,
        SCOPES,
    )


def test_ruleset_that_would_hold_nothing_is_none() -> None:
    assert ruleset_attributes(3, network=True, files=False, binds_any=False) == b""
    steps = closing_steps(
        Jail(network=True, mounts=True, listens=()), arch="x86_64", landlock=3, program=None
    )
    assert [step.name for step in steps if "landlock" in step.name] == []


def test_jail_that_mounts_has_rules_for_its_ports_and_none_for_files() -> None:
    jail = Jail(grants=(read("/usr"),), network=True, mounts=True, listens=(0, 8080))
    steps = closing_steps(jail, arch="x86_64", landlock=7, program=None)
    assert [step.name for step in steps if "landlock" in step.name] == [
        "landlock_create_ruleset",
        "landlock_add_rule for port 0",
        "landlock_add_rule for port 8080",
        "landlock_restrict_self",
    ]
    assert bind_attributes(8080) == struct.pack("<QQ", BIND, 8080)
