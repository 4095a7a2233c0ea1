"""Filters, run by an interpreter of classic BPF: what Docker's default allows and denies, and what a profile file says."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidArgumentError, UnsupportedError
from engine.model import DOCKER_CAPABILITIES
from engine.runtime.capabilities import ALL_CAPABILITIES
from engine.seccomp.compiler import compile_profile
from engine.seccomp.container import _OPENING, committed_path, container_filter
from engine.seccomp.docker import NEVER, OPENED_BY, default_profile
from engine.seccomp.profile import Action, Comparison, Condition, Profile, Rule, Verdict, parse_profile
from engine.seccomp.syscalls import AUDIT_ARCH, COMPAT, load_syscalls

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050001, 0x00050026


def run(program: bytes, arch: str, number: int, *arguments: int) -> int:
    """What the kernel would return for a call (seccomp(2), struct seccomp_data)."""
    padded = (*arguments, *([0] * (6 - len(arguments))))
    call = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, AUDIT_ARCH.get(arch, 0), 0, *padded)
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        code, true, false, value = instructions[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", call, value)
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x15 | 0x25 | 0x35:
                holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[
                    code
                ]
                at += true if holds else false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"instruction {code:#x}")


def number(name: str, arch: str = "x86_64") -> int:
    return load_syscalls()[name].by_arch[arch]


DEFAULT = compile_profile(default_profile(DOCKER_CAPABILITIES), "x86_64")


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_committed_filter_is_the_compilers(arch: str) -> None:
    assert committed_path(arch).read_bytes() == compile_profile(default_profile(DOCKER_CAPABILITIES), arch)
    assert (
        container_filter("", DOCKER_CAPABILITIES, privileged=False, arch=arch)
        == committed_path(arch).read_bytes()
    )


def test_opening_capabilities_are_those_of_the_table() -> None:
    assert set(OPENED_BY) == _OPENING


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_default_denies_exactly_what_it_names_on_every_processor(arch: str) -> None:
    program = compile_profile(default_profile(DOCKER_CAPABILITIES), arch)
    opened = {name for names in OPENED_BY.values() for name in names} - {"chroot"}
    special = {"personality", "socket", "clone", "clone3"}
    for name, found in load_syscalls().items():
        for one in (arch, COMPAT[arch]):
            if one in found.by_arch and name not in special:
                expected = EPERM if name in opened or name in NEVER else ALLOWED
                assert run(program, one, found.by_arch[one]) == expected, (name, one)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("socket", (1,), ALLOWED), ("socket", (2,), ALLOWED), ("socket", (17,), ALLOWED), ("socket", (38,), EPERM),
        ("socket", (40,), EPERM), ("socket", (46,), EPERM), ("socket", (1 << 32,), EPERM),
        ("personality", (0,), ALLOWED), ("personality", (0xFFFFFFFF,), ALLOWED), ("personality", (0x40000,), EPERM),
        ("clone", (0x11,), ALLOWED), ("clone", (0x10000000,), EPERM), ("clone", (0x20000 | 0x11,), EPERM),
        ("clone", (0x3D0F00,), ALLOWED), ("clone3", (0,), ENOSYS),
    ],
)  # fmt: skip
def test_default_looks_at_arguments(name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert run(DEFAULT, "x86_64", number(name), *arguments) == expected


@pytest.mark.parametrize("unknown", [468, 1000, 0x40000000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_default_has_no_calls_past_the_table(unknown: int) -> None:
    assert run(DEFAULT, "x86_64", unknown) == ENOSYS


def test_program_for_another_processor_is_killed() -> None:
    assert run(DEFAULT, "none", 0) == KILLED


@pytest.mark.parametrize("capability", sorted(OPENED_BY))
def test_capability_opens_its_calls(capability: str) -> None:
    program = container_filter("", {*DOCKER_CAPABILITIES, capability}, privileged=False, arch="x86_64")
    for name in OPENED_BY[capability]:
        if "x86_64" in load_syscalls()[name].by_arch:
            assert run(program, "x86_64", number(name)) == ALLOWED, name
    everything = {"clone": 0x10000000, "clone3": 0}
    for name, flags in everything.items():
        assert (run(program, "x86_64", number(name), flags) == ALLOWED) is (capability == "SYS_ADMIN")


def test_all_capabilities_still_leave_what_is_never_allowed() -> None:
    program = container_filter("", ALL_CAPABILITIES, privileged=False, arch="x86_64")
    assert run(program, "x86_64", number("keyctl")) == EPERM
    assert run(program, "x86_64", number("mount")) == ALLOWED


def test_unconfined_and_privileged_have_no_filter_unless_asked_for() -> None:
    assert container_filter("unconfined", (), privileged=False, arch="x86_64") == b""
    assert container_filter("", (), privileged=True, arch="x86_64") == b""
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW"})
    assert container_filter(profile, (), privileged=True, arch="x86_64") != b""


U64 = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]))
HOLDS = {
    Comparison.EQ: lambda a, v, _: a == v, Comparison.NE: lambda a, v, _: a != v, Comparison.LT: lambda a, v, _: a < v,
    Comparison.LE: lambda a, v, _: a <= v, Comparison.GT: lambda a, v, _: a > v, Comparison.GE: lambda a, v, _: a >= v,
    Comparison.MASKED_EQ: lambda a, v, s: a & v == s,
}  # fmt: skip


@settings(deadline=None)
@given(comparison=st.sampled_from(Comparison), argument=U64, value=U64, second=U64, near=st.booleans())
def test_compiler_compares_arguments_of_64_bits(
    comparison: Comparison, argument: int, value: int, second: int, near: bool
) -> None:
    argument = (value + (argument % 3) - 1) % 2**64 if near else argument
    condition = Condition(index=3, comparison=comparison, value=value, second=second)
    rule = Rule(names=("read",), verdict=Verdict(action=Action.KILL_PROCESS), conditions=(condition,))
    profile = Profile(default=Verdict(action=Action.ALLOW), rules=(rule,))
    program = compile_profile(profile, "x86_64")
    expected = KILLED if HOLDS[comparison](argument, value, second) else ALLOWED
    assert run(program, "x86_64", number("read"), 0, 0, 0, argument) == expected
    assert run(program, "x86_64", number("write"), 0, 0, 0, argument) == ALLOWED


DOCKER_FILE = {
    "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"name": "chmod", "action": "SCMP_ACT_ERRNO", "errnoRet": 42},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["umount2"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 1, "value": 15, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
    ],
}  # fmt: skip


def test_profile_file_in_dockers_format_is_taken_at_its_word() -> None:
    program = compile_profile(
        parse_profile(json.dumps(DOCKER_FILE), arch="x86_64", capabilities=()), "x86_64"
    )

    def outcome(name: str, *arguments: int) -> int:
        return run(program, "x86_64", number(name), *arguments)

    assert outcome("read") == ALLOWED and outcome("open") == 0x0005000D
    assert outcome("chmod") == 0x0005002A and outcome("mount") == 0x0005000D and outcome("umount2") == ALLOWED
    assert outcome("arch_prctl") == 0x0005000D
    assert outcome("kill", 1, 9) == outcome("kill", 1, 15) == ALLOWED and outcome("kill", 1, 1) == 0x0005000D


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"), ("[]", "object"), ('{"defaultAction": "ALLOW"}', "defaultAction"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}', "names"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "no"}]}', r"syscalls\[0\]"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", '
         '"args": [{"index": 7, "op": "SCMP_CMP_EQ"}]}]}', "range"),
        ("[" * 100000, "JSON"),
    ],
)  # fmt: skip
def test_profile_file_that_is_wrong_is_refused_with_the_place(text: str, named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        parse_profile(text, arch="x86_64", capabilities=())


def test_profile_that_asks_a_program_on_the_host_is_unsupported() -> None:
    text = (
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}'
    )
    with pytest.raises(UnsupportedError, match="NOTIFY"):
        parse_profile(text, arch="x86_64", capabilities=())
